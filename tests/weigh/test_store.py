"""The store keeps everything, once, whatever happens to the process that writes."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.weigh.test_observation import GOOD
from wazn.errors import BadFile, StorageError
from wazn.weigh.observation import Observation
from wazn.weigh.store import COLUMNS, ObservationStore


def days(count: int) -> list[Observation]:
    """The same reading on `count` days in a row."""
    return [replace(GOOD, as_of=GOOD.as_of + timedelta(days=day)) for day in range(count)]


def test_what_is_appended_can_be_read_back(tmp_path: Path) -> None:
    store = ObservationStore(tmp_path / "observations")
    strange = replace(GOOD, entity='hf:x/O\'Brien-"模型"\\n', value=0.1)
    assert store.append([GOOD, strange]) == 2
    found = store.query().fetchall()
    times = GOOD.captured_at.replace(tzinfo=None)
    assert sorted(found) == sorted(
        tuple(times if name == "captured_at" else getattr(one, name) for name in COLUMNS)
        for one in (GOOD, strange)
    )


def test_an_empty_store_has_the_columns_and_no_rows(tmp_path: Path) -> None:
    relation = ObservationStore(tmp_path / "nowhere").query()
    assert relation.columns == list(COLUMNS)
    assert relation.fetchall() == []


def test_what_is_known_is_not_stored_again(tmp_path: Path) -> None:
    store = ObservationStore(tmp_path)
    later = replace(GOOD, captured_at=GOOD.captured_at + timedelta(days=1), raw_sha256="1" * 64)
    assert store.append([GOOD, GOOD]) == 1
    assert store.append([later]) == 0
    assert store.append([replace(later, value=7)]) == 1  # a restated number stands beside the old
    assert [path.name for path in store.files()] == ["00000001.parquet", "00000002.parquet"]


def test_a_file_is_never_written_again(tmp_path: Path) -> None:
    store = ObservationStore(tmp_path)
    store.append(days(3))
    before = store.files()[0].read_bytes()
    store.append(days(5))
    assert store.files()[0].read_bytes() == before
    assert len(store.query()) == 5


def test_an_append_that_fails_half_way_stores_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Observation]:
        yield GOOD
        raise ConnectionError("the line went dead")

    store = ObservationStore(tmp_path)
    with pytest.raises(ConnectionError):
        store.append(broken())
    assert store.append([]) == 0
    assert store.files() == []


@pytest.mark.parametrize("content", [b"", b"PAR1 not really", b"a,b\n1,2\n"])
def test_a_foreign_file_in_the_store_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "00000001.parquet").write_bytes(content)
    with pytest.raises(BadFile, match=r"00000001\.parquet is not a file of observations"):
        ObservationStore(tmp_path).query()


def test_a_table_with_other_columns_is_named(tmp_path: Path) -> None:
    store = ObservationStore(tmp_path)
    store.connect().execute(f"COPY (SELECT 1 AS x) TO '{tmp_path}/other.parquet'")
    with pytest.raises(BadFile, match="its columns are x"):
        store.query()


def test_a_folder_that_cannot_be_made_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be used"):
        ObservationStore(tmp_path / "file" / "observations").append([GOOD])


ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from pathlib import Path
from tests.weigh.test_store import days
from wazn.weigh.store import ObservationStore
store = ObservationStore(Path(sys.argv[1]))
for count in range(1, 10_000):
    store.append(days(count))
    print(count, flush=True)
"""


@pytest.mark.parametrize("wait_s", [0.0, 0.013, 0.031])
def test_a_writer_that_is_killed_leaves_a_store_that_continues(
    tmp_path: Path, wait_s: float
) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(wait_s)
        writer.send_signal(signal.SIGKILL)
        acknowledged = int([first, *writer.stdout.read().split()][-1])
    store = ObservationStore(tmp_path)
    stored = len(store.query())
    assert stored in (acknowledged, acknowledged + 1)
    assert store.append(days(stored + 1)) == 1
    assert [path.name for path in tmp_path.glob(".aside-*")] == []


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    code = WRITER.replace("range(1, 10_000)", "range(1, 8)")
    command = [sys.executable, "-c", code, str(tmp_path)]
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as one,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as other,
    ):
        assert (one.wait(), other.wait()) == (0, 0)
    assert len(ObservationStore(tmp_path).query()) == 7
