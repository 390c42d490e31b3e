"""A file that a long command will write: whether it can, before the work and not after it."""

from __future__ import annotations

from pathlib import Path

from wazn.errors import StorageError


def check_writable(path: Path) -> None:
    """StorageError if a file cannot be written there; one that exists is left as it is."""
    is_new = not path.exists()
    try:
        path.open("ab").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise StorageError(f"'{path}' cannot be written: {error.strerror}.") from None
