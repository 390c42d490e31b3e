"""Weight files that the operating system delivers in pieces, or not at all."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from wazn.errors import BadFile
from wazn.weights import files
from wazn.weights.files import WeightFile

CONTENT = bytes(range(100))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(CONTENT)
    return tmp_path / "weights"


def test_a_read_that_comes_in_pieces_is_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, at: pread(fd, min(count, 7), at))
    with WeightFile(path) as file:
        assert file.read(10, 50, "part") == CONTENT[10:60]
        assert file.read(100, 0, "nothing") == b""


def test_a_buffer_larger_than_one_system_call_is_filled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_MAX_READ", 7)
    buffer = np.zeros((5, 5), "<u2")
    with WeightFile(path) as file:
        file.read_into(buffer, 3, "tensor 'w'")
    assert buffer.tobytes() == CONTENT[3:53]


def test_bytes_beyond_the_end_are_an_error(path: Path) -> None:
    with WeightFile(path) as file:
        with pytest.raises(BadFile, match=r"weights: header ends at byte 120, .* ends at 100"):
            file.read(90, 30, "header")
        with pytest.raises(BadFile, match="tensor 'w' ends at byte 110"):
            file.read_into(np.zeros(10, np.uint8), 100, "tensor 'w'")


def failing(*_: object) -> int:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_failing_disk_is_an_error_with_the_name_of_what_was_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pread", failing)
    monkeypatch.setattr(os, "preadv", failing)
    with WeightFile(path) as file:
        with pytest.raises(BadFile, match=r"header cannot be read: Input/output error"):
            file.read(0, 8, "header")
        with pytest.raises(BadFile, match=r"tensor 'w' cannot be read: Input/output error"):
            file.read_into(np.zeros(8, np.uint8), 0, "tensor 'w'")
