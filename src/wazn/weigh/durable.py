"""Writing files that are there whole or not at all, and disks that refuse in plain words.

Knows files and the errors of disks; knows nothing of what is in the files.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from wazn.errors import StorageError

ASIDE = ".aside-"
"""How the names of unfinished files begin; no reader takes them for content."""

LEFTOVER_S = 3600.0
"""No file takes an hour to write, so an unfinished one of that age is nobody's."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that, whatever happens, it is seen complete or not at all."""
    aside = path.with_name(f"{ASIDE}{uuid4().hex}")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(aside, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
        sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove unfinished files, at any depth, that a killed process left an hour ago or more."""
    oldest = time.time() - LEFTOVER_S
    with storage_errors(folder):
        for path in folder.rglob(f"{ASIDE}*"):
            with suppress(FileNotFoundError):  # another process was faster
                if path.stat().st_mtime < oldest:
                    path.unlink()


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file and wait until the disk has it; a kill may leave half a line."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with open(path, "ab") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError about `path` into a StorageError with the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"The disk that holds {path} is full. What was stored so far is kept: free some "
                "space and try again, or keep observations elsewhere with WAZN_HOME."
            ) from error
        raise StorageError(f"{path} cannot be used: {error.strerror or error}.") from error
