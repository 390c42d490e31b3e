"""What the store asks of a disk: room, atomic writes, locks, and errors a user can act on.

Knows files and folders; knows nothing of models. Every OSError on the way becomes a StorageError
that names the place.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wazn.errors import StorageError


def format_bytes(num_bytes: int) -> str:
    """A size for people: decimal units, one digit after the point from a thousand bytes on."""
    value = float(num_bytes)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{num_bytes} bytes" if unit == "bytes" else f"{value:.1f} {unit}"


def require_space(folder: Path, num_bytes: int, what: str) -> None:
    """Raise StorageError, with both numbers, when `folder` has no room for `num_bytes` more."""
    with storage_errors(folder):
        free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise StorageError(
            f"{what} needs {format_bytes(num_bytes)} in {folder}, where {format_bytes(free)} are "
            "free. Free some space, or keep models elsewhere with WAZN_HOME."
        )


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError about `path` into a StorageError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(_existing(path)).free
            raise StorageError(
                f"The disk that holds {path} is full ({format_bytes(free)} are free). What was "
                "fetched so far is kept: free some space and try again."
            ) from error
        raise StorageError(f"{path} cannot be used: {error.strerror or error}.") from error


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def write_atomically(path: Path, content: bytes) -> None:
    """Write a small file so that a reader sees the old content or all of the new."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with storage_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(aside, "wb") as file:
                file.write(content)
            move_into_place(aside, path)
        finally:
            aside.unlink(missing_ok=True)


def move_into_place(aside: Path, path: Path) -> None:
    """Rename a finished file to its name, surviving a power cut at any moment."""
    with open(aside, "rb") as file:
        os.fsync(file.fileno())
    os.replace(aside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`; `on_wait` is called once when another process has it.

    The file is never deleted: a deleted lock file would let two processes hold "the" lock.
    """
    import fcntl

    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        with storage_errors(path):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
