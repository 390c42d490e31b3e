import json
from pathlib import Path

import pytest

from tests.bench.test_report import example
from tests.golden.build import read_config, write_gguf
from tests.golden.catalogue import LLAMA
from tests.golden.tensors import draw
from wazn.bench.measure import Plan
from wazn.bench.report import Run
from wazn.bench.session import Session
from wazn.cli.bench import spread_numbers
from wazn.cli.main import run_command


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny Llama with room for the prompts of the benchmark."""
    config = read_config(LLAMA) | {"max_position_embeddings": 1024}
    path = tmp_path / "tiny.gguf"
    write_gguf(config, draw(config, LLAMA.seed), path, vocabulary=LLAMA.vocabulary)
    return path


class Stage:
    """Stands in for the run itself: remembers the session and gives a prepared result."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.session: Session | None = None
        self.result = example()
        monkeypatch.setattr(Session, "run", lambda session, notify: self._run(session))

    def _run(self, session: Session) -> Run:
        self.session = session
        return self.result


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_several_numbers_may_follow_one_option() -> None:
    given = ["m", "--users", "1", "8", "--json", "--users", "4", "--repeats", "2"]
    assert spread_numbers("--users", given) == [
        *("m", "--users", "1", "--users", "8", "--json", "--users", "4", "--repeats", "2")
    ]


def test_a_model_after_the_numbers_stays_an_argument() -> None:
    assert spread_numbers("--users", ["--users", "1", "m"]) == ["--users", "1", "m"]


def test_flags_become_a_session(model: Path, stage: Stage) -> None:
    arguments = ["--users", "8", "1", "8", "--repeats", "2", "--threads", "3", "--json"]
    assert run_command(["bench", str(model), *arguments]) == 0
    assert stage.session is not None
    assert stage.session.path == model
    assert stage.session.names == ("wazn",)
    assert stage.session.threads == 3
    assert stage.session.plan == Plan([1, 8], 2)


def test_json_is_one_object_on_stdout(
    model: Path, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["bench", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["quiet"] is True


def test_the_table_shows_every_task(
    model: Path, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["bench", str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if "3.00 2.00 4.00" in line] == [
        *(["1", "prefill"], ["1", "decode"], ["8", "decode"])
    ]


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_disturbed_machine_is_a_failure_with_a_result(
    model: Path, stage: Stage, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    stage.result = example(noise=["other programs took 9% of it."])
    assert run_command(["bench", str(model), *flags]) == 1
    captured = capsys.readouterr()
    assert captured.err == "wazn: machine not quiet: other programs took 9% of it.\n"
    assert "llama.cpp" in captured.out


def test_a_missing_contender_is_an_error_with_the_remedy(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wazn.bench.llama_cpp.find_spec", lambda name: None)
    assert run_command(["bench", str(model), "--against", "llama.cpp"]) == 1
    assert "pip install 'wazn[bench]'" in capsys.readouterr().err


def test_llama_cpp_is_not_offered_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wazn.errors import BadRequest

    monkeypatch.setattr("wazn.bench.llama_cpp.find_spec", lambda name: object())
    session = Session(tmp_path, ("wazn", "llama.cpp"), 2, Plan([1], 1), tmp_path / "records")
    with pytest.raises(BadRequest, match="is a folder"):
        session.check()


def test_rounded_weights_are_for_wazn_alone(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wazn.errors import BadRequest

    monkeypatch.setattr("wazn.bench.llama_cpp.find_spec", lambda name: object())
    names, plan, records = ("wazn", "llama.cpp"), Plan([1], 1), tmp_path / "records"
    with pytest.raises(BadRequest, match="--weights q8 is for wazn alone"):
        Session(model, names, 2, plan, records, weights="q8").check()
    Session(model, ("wazn",), 2, plan, records, weights="q8").check()


def test_rounded_weights_are_measured_and_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wazn.bench.ceilings.BANDWIDTH_BYTES", 1 << 24)
    flags = ["--users", "1", "--repeats", "1", "--weights", "q4", "--json"]
    run_command(["bench", str(model), *flags])
    found = json.loads(capsys.readouterr().out)
    assert found["contenders"][0]["file"] == "tiny.gguf with weights=q4"


@pytest.mark.parametrize(
    "flags", [["--users", "0"], ["--users", "65"], ["--repeats", "0"], ["--against", "vllm"]]
)
def test_a_value_out_of_range_is_wrong_usage(model: Path, flags: list[str]) -> None:
    assert run_command(["bench", str(model), *flags]) == 2


def test_a_tiny_model_is_measured_from_end_to_end(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wazn.bench.ceilings.BANDWIDTH_BYTES", 1 << 24)
    status = run_command(["bench", str(model), "--users", "1", "2", "--repeats", "1", "--json"])
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert status == (0 if found["quiet"] else 1)
    users = found["contenders"][0]["users"]
    assert list(users) == ["1", "2"]
    for figures in users.values():
        assert figures["prefill_tok_s"] > 0 and figures["decode_tok_s"] > 0
        assert 0 < figures["decode_share_of_ceiling"]
    assert "2 users, decode 1 of 1: wazn" in captured.err


def test_a_file_that_is_no_model_is_refused_by_its_contender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wazn.bench.ceilings.BANDWIDTH_BYTES", 1 << 24)
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF" + bytes(4))
    assert run_command(["bench", str(path), "--users", "1"]) == 1
    assert "bad.gguf" in capsys.readouterr().err
