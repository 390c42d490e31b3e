"""`kill -9` in the middle: a real process, killed at random, leaves a store that continues."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tests.weigh.services import Services, repository, running_services
from wazn.weigh.durable import remove_leftovers
from wazn.weigh.folders import Folders
from wazn.weigh.observation import Observation

PUBLISHERS = [f"org{number}" for number in range(12)]
EACH = 40


@pytest.fixture
def services() -> Iterator[Services]:
    with running_services() as services:
        services.page_size = EACH // 2
        services.hub = [
            repository(f"{name}/model-{number}", 1000 * number + 1)
            for name in PUBLISHERS
            for number in range(EACH)
        ]
        yield services


def start(services: Services, home: Path) -> subprocess.Popen[bytes]:
    """`wazn observe hub` over all publishers, in a process of its own."""
    asked = [word for name in PUBLISHERS for word in ("--publisher", name)]
    environment = {**os.environ, "WAZN_HOME": str(home), "WAZN_HF_ENDPOINT": services.url}
    return subprocess.Popen(
        [sys.executable, "-m", "wazn", "observe", "hub", *asked],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def rows(folders: Folders) -> list[tuple[object, ...]]:
    return (
        folders.store.connect()
        .execute("SELECT entity, metric, value, source FROM observations ORDER BY ALL")
        .fetchall()
    )


def test_a_capture_killed_again_and_again_loses_nothing_and_ends(
    services: Services, tmp_path: Path, earlier: Observation
) -> None:
    """The delays reach from before the first request to the writing of the store."""
    folders = Folders(tmp_path)
    folders.store.append([earlier])
    kept = rows(folders)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    for _ in range(4):
        process = start(services, tmp_path)
        num_asked = len(services.seen)
        goal = num_asked + draw.randrange(1, 8)
        while len(services.seen) < goal and process.poll() is None:
            time.sleep(0.002)
        time.sleep(draw.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert set(kept) <= set(rows(folders))
    process = start(services, tmp_path)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    assert f"{len(PUBLISHERS) * EACH} entities" in output.decode()
    stored = rows(folders)
    assert set(kept) <= set(stored) and len(stored) == len(set(stored))
    counted = [row for row in stored if row[1] == "downloads_30d" and row[3] == "huggingface"]
    assert len(counted) == len(PUBLISHERS) * EACH


def test_what_a_killed_process_left_aside_is_removed_when_it_is_old(tmp_path: Path) -> None:
    old, fresh = tmp_path / "raw" / "c1" / ".aside-old", tmp_path / ".aside-fresh"
    old.parent.mkdir(parents=True)
    for path in (old, fresh, tmp_path / "kept"):
        path.write_bytes(b"half")
        os.utime(path, (0, 0) if path != fresh else None)
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        ".aside-fresh",
        "kept",
    ]


def test_a_capture_killed_while_it_stores_is_stored_by_the_next(
    services: Services, tmp_path: Path, earlier: Observation
) -> None:
    folders = Folders(tmp_path)
    folders.store.append([earlier])
    before = len(folders.store.files())
    for delay in (0.02, 0.2):
        process = start(services, tmp_path)
        while not _is_fetched(folders) and process.poll() is None:
            time.sleep(0.002)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert len(folders.store.files()) in (before, before + 1)
    process = start(services, tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    counted = [row for row in rows(folders) if row[1] == "downloads_30d"]
    assert len(counted) == len(PUBLISHERS) * EACH + 1


def _is_fetched(folders: Folders) -> bool:
    """Whether every page is in a journal that is not ended yet."""
    journals = [*folders.unfinished.glob("*.jsonl")]
    num_pages = 2 * len(PUBLISHERS)
    return bool(journals) and journals[0].read_bytes().count(b'"line":"answer"') == num_pages


@pytest.fixture
def earlier() -> Observation:
    return Observation(
        "hf:old/model",
        *("downloads_30d", 5.0, "downloads"),
        date(2026, 1, 1),
        datetime(2026, 1, 1, tzinfo=UTC),
        *("somewhere", "hub-api", "0" * 64),
    )
