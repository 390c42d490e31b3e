"""Bytes over HTTP: resumed, checked, and never trusted before the end."""

import errno
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.weights.hub_server import HubServer, Recorder, Repository, running_hub, settings_for
from wazn.errors import FetchError, StorageError
from wazn.weights.sources import download, session
from wazn.weights.store import Store

CONTENT = hashlib.shake_256(b"weights").digest(300_000)
REFERENCE = "hf:org/model:Q4_0"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    monkeypatch.setattr(session, "BACKOFF_S", 0.0)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with running_hub() as hub:
        hub.repositories["org/model"] = Repository({"model-q4_0.gguf": CONTENT})
        yield hub


@pytest.fixture
def store(hub: HubServer, tmp_path: Path) -> Store:
    return Store(settings=settings_for(tmp_path / "home", hub.url))


def parts(store: Store) -> list[Path]:
    return list(store.root.glob("models/**/*.part"))


def test_the_bytes_arrive_as_they_are_and_progress_is_told(store: Store) -> None:
    progress = Recorder()
    model = store.pull(REFERENCE, progress)
    assert model.path.read_bytes() == CONTENT
    assert progress.tasks() == [("model-q4_0.gguf", len(CONTENT), 0, len(CONTENT))]
    assert progress.told[-1] == ("finish",)
    assert not parts(store)


def test_a_dropped_connection_is_resumed_from_the_last_byte(hub: HubServer, store: Store) -> None:
    hub.faults.drops = [100_000, 50_000]
    progress = Recorder()
    assert store.pull(REFERENCE, progress).path.read_bytes() == CONTENT
    ranges = [seen.range for seen in hub.content_requests()]
    assert ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert progress.tasks() == [("model-q4_0.gguf", len(CONTENT), 0, len(CONTENT))]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_error_status_is_tried_again(hub: HubServer, store: Store, status: int) -> None:
    hub.faults.statuses = [status, status]
    assert store.pull(REFERENCE).path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("header", "waited_s"), [("7", 7.0), ("9999999", 60.0), ("-5", 0.5), ("Fri, 31 Dec", 0.5)]
)
def test_the_wait_that_a_server_asks_for_is_kept_within_reason(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch, header: str, waited_s: float
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(session, "BACKOFF_S", 0.5)
    monkeypatch.setattr("wazn.weights.sources.session.time.sleep", waits.append)
    hub.faults.statuses = [429]
    hub.faults.retry_after = header
    store.pull(REFERENCE)
    assert waits == [waited_s]


def test_a_server_that_never_recovers_is_given_up_and_the_part_is_kept(
    hub: HubServer, store: Store
) -> None:
    hub.faults.drops = [100_000] + [0] * 50
    with pytest.raises(FetchError, match=r"Hugging Face at http.* cannot be reached"):
        store.pull(REFERENCE)
    assert [part.stat().st_size for part in parts(store)] == [100_000]
    hub.faults.drops = []
    hub.seen.clear()
    progress = Recorder()
    assert store.pull(REFERENCE, progress).path.read_bytes() == CONTENT
    assert [seen.range for seen in hub.content_requests()] == ["bytes=100000-"]
    assert progress.tasks() == [("model-q4_0.gguf", len(CONTENT), 100_000, len(CONTENT) - 100_000)]


def test_a_server_that_ignores_ranges_makes_the_download_begin_anew(
    hub: HubServer, store: Store
) -> None:
    hub.faults.drops = [100_000]
    hub.faults.ignores_ranges = True
    progress = Recorder()
    assert store.pull(REFERENCE, progress).path.read_bytes() == CONTENT
    assert [task[2:] for task in progress.tasks()] == [(0, 100_000), (0, len(CONTENT))]


def test_a_server_that_sends_another_range_is_not_believed(hub: HubServer, store: Store) -> None:
    hub.faults.drops = [100_000]
    hub.faults.shifts_ranges = True
    assert store.pull(REFERENCE).path.read_bytes() == CONTENT
    ranges = [seen.range for seen in hub.content_requests()]
    assert ranges == [None, "bytes=100000-", None]


def test_a_range_answered_with_status_200_is_still_a_range(hub: HubServer, store: Store) -> None:
    hub.faults.drops = [100_000]
    hub.faults.partial_as_200 = True
    progress = Recorder()
    assert store.pull(REFERENCE, progress).path.read_bytes() == CONTENT
    assert progress.tasks() == [("model-q4_0.gguf", len(CONTENT), 0, len(CONTENT))]


def test_wrong_bytes_are_discarded_and_both_digests_are_named(hub: HubServer, store: Store) -> None:
    hub.faults.corrupts = True
    with pytest.raises(FetchError) as caught:
        store.pull(REFERENCE)
    assert hashlib.sha256(CONTENT).hexdigest() in str(caught.value)
    assert hashlib.sha256(bytes(b ^ 1 for b in CONTENT)).hexdigest() in str(caught.value)
    assert not parts(store)
    assert not list(store.root.glob("models/**/*.gguf"))
    assert store.find(REFERENCE) is None


def test_a_part_with_wrong_bytes_is_found_out_at_the_end(hub: HubServer, store: Store) -> None:
    hub.faults.drops = [100_000] + [0] * 50
    with pytest.raises(FetchError):
        store.pull(REFERENCE)
    hub.faults.drops = []
    (part,) = parts(store)
    part.write_bytes(bytes(100_000))
    with pytest.raises(FetchError, match="was promised"):
        store.pull(REFERENCE)
    assert store.pull(REFERENCE).path.read_bytes() == CONTENT


def test_a_part_that_is_already_whole_needs_no_request(hub: HubServer, store: Store) -> None:
    hub.faults.drops = [0] * 50
    with pytest.raises(FetchError):
        store.pull(REFERENCE)
    (part,) = parts(store)
    part.write_bytes(CONTENT)
    hub.seen.clear()
    assert store.pull(REFERENCE).path.read_bytes() == CONTENT
    assert not hub.content_requests()


def test_a_part_that_is_too_long_is_begun_anew(hub: HubServer, store: Store) -> None:
    hub.faults.drops = [0] * 50
    with pytest.raises(FetchError):
        store.pull(REFERENCE)
    (part,) = parts(store)
    part.write_bytes(CONTENT + b"more")
    hub.faults.drops = []
    assert store.pull(REFERENCE).path.read_bytes() == CONTENT


def test_a_file_of_another_length_than_listed_is_refused(hub: HubServer, store: Store) -> None:
    hub.faults.extra_bytes = 7
    with pytest.raises(FetchError, match=r"with 300007 bytes, but its listing says 300000"):
        store.pull(REFERENCE)


def test_a_file_that_is_gone_at_its_end_is_begun_anew(hub: HubServer, store: Store) -> None:
    hub.faults.sizes["model-q4_0.gguf"] = len(CONTENT) + 10
    with pytest.raises(FetchError, match="its listing says"):
        store.pull(REFERENCE)


def test_too_little_disk_is_said_before_anything_is_fetched(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=123_000))
    with pytest.raises(StorageError, match=r"needs 300\.0 kB in .*, where 123\.0 kB are free"):
        store.pull(REFERENCE)
    assert not hub.content_requests()


def test_a_disk_that_fills_up_is_a_clear_error_and_keeps_the_part(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullFile(io.FileIO):
        def write(self, piece: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(download, "open", FullFile, raising=False)
        with pytest.raises(StorageError, match=r"is full .*free some space and try again"):
            store.pull(REFERENCE)
    assert len(parts(store)) == 1
    assert store.pull(REFERENCE).path.read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written_is_named(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = Store(settings=settings_for(tmp_path / "file", hub.url))
    with pytest.raises(StorageError, match=r"file.* cannot be used: Not a directory"):
        store.pull(REFERENCE)


def test_ctrl_c_leaves_the_part_and_the_next_pull_resumes(hub: HubServer, store: Store) -> None:
    hub.faults.stall_after = 120_000
    child = start_pull(store.root, hub.url)
    try:
        await_part(store, 120_000)
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=30)
    finally:
        child.kill()
        child.communicate()
    assert "KeyboardInterrupt" in stderr
    assert store.find(REFERENCE) is None
    (part,) = parts(store)
    kept = part.stat().st_size
    assert 100_000 < kept <= 120_000
    hub.faults.stall_after = None
    hub.seen.clear()
    assert store.pull(REFERENCE).path.read_bytes() == CONTENT
    assert [seen.range for seen in hub.content_requests()] == [f"bytes={kept}-"]


def test_two_processes_that_pull_at_once_fetch_once(hub: HubServer, store: Store) -> None:
    hub.faults.stall_after = 120_000
    children = [start_pull(store.root, hub.url)]
    try:
        await_part(store, 120_000)
        children.append(start_pull(store.root, hub.url))
        output = children[1].stdout
        assert output is not None
        assert output.readline().startswith("waiting for another wazn")
        hub.faults.stall_after = None
        hub.faults.drops = []
        hub.released.set()
        for child in children:
            _, stderr = child.communicate(timeout=60)
            assert child.returncode == 0, stderr
    finally:
        for child in children:
            child.kill()
            child.communicate()
    ranges = [seen.range for seen in hub.content_requests()]
    assert ranges == [None, "bytes=120000-"]
    found = store.find(REFERENCE)
    assert found is not None and found.path.read_bytes() == CONTENT


PULL = """
import sys
from pathlib import Path
from tests.weights.hub_server import settings_for
from wazn.weights.store import Store
class Say:
    def start(self, name, total_bytes, already): print(name, flush=True)
    def advance(self, num_bytes): pass
    def finish(self): pass
Store(settings=settings_for(Path(sys.argv[1]), sys.argv[2])).get("hf:org/model:Q4_0", Say())
"""


def start_pull(root: Path, url: str) -> subprocess.Popen[str]:
    tests = Path(__file__).parents[1]
    paths = [str(tests), str(tests.parent / "src"), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-c", PULL, str(root), url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def await_part(store: Store, num_bytes: int) -> None:
    """Wait until a child has so many bytes on disk (or, less a buffer, in hand)."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if any(part.stat().st_size >= num_bytes - 8192 for part in parts(store)):
            return
        time.sleep(0.02)
    raise AssertionError("the child did not get so far")
