import json
from pathlib import Path
from xml.dom import minidom

import pytest

from tests.bench.test_command import model  # noqa: F401  a fixture
from wazn.bench.ceilings import Ceilings
from wazn.bench.profile import Profile, Row, TaskProfile, to_table
from wazn.bench.roofline import draw
from wazn.bench.workload import Task
from wazn.cli.main import run_command

CEILINGS = Ceilings(bandwidth=10e9, compute=100e9)
ROWS = [Row("linear Q4_0 8x8", 0.5, 4e9, 8e9), Row("attend", 0.25, 0.0, 0.0)]
EXAMPLE = TaskProfile(Task("decode", 1), 1.0, ROWS)


def test_every_operation_of_a_model_is_timed_and_drawn(
    model: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    picture = tmp_path / "roofline.svg"
    arguments = ["--users", "1", "--threads", "1", "--profile", str(picture), "--json"]
    assert run_command(["bench", str(model), *arguments]) == 0
    tasks = json.loads(capsys.readouterr().out)["tasks"]
    assert [task["kind"] for task in tasks] == ["prefill", "decode"]
    for task in tasks:
        found = {operation["what"]: operation for operation in task["operations"]}
        assert {"embed", "rms_norm", "attend"} <= found.keys()
        assert 0 < sum(operation["seconds"] for operation in found.values()) <= task["seconds"]
        assert all(o["bytes"] and o["macs"] for what, o in found.items() if "linear" in what)
    assert len(minidom.parse(str(picture)).getElementsByTagName("circle")) > 4


@pytest.mark.parametrize("place", ["missing/roofline.svg", "."])
def test_a_picture_that_cannot_be_written_is_said_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    picture = tmp_path / place
    absent = tmp_path / "no-model.gguf"  # it is not even looked for
    assert run_command(["bench", str(absent), "--profile", str(picture)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"wazn: '{picture}' cannot be written: ") and error.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_a_row_is_held_against_the_nearer_bound() -> None:
    header, rows = to_table(EXAMPLE, CEILINGS)
    cells = dict(zip(header, rows[0], strict=True))
    assert cells["of bound"] == "80%"  # 0.4 s of reading, 0.08 s of multiplying
    assert cells["GB/s"] == "8.0"
    assert rows[1][2:] == ["25.0%", "", "", ""]
    assert rows[-1][:3] == ["outside the program", "250.00", "25.0%"]


def test_names_are_escaped_in_the_picture() -> None:
    hostile = TaskProfile(Task("decode", 1), 1.0, [Row("<b>&", 0.5, 4e9, 8e9)])
    minidom.parseString(draw(Profile("<file>", 2, CEILINGS, [hostile])))
