"""Weight files read by position with pread, never mapped.

A mapped file that is cut short by another program kills the process with SIGBUS; a short pread is
an error message. Knows paths, sizes and byte ranges; refuses to know what the bytes mean.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile, ModelNotFound

_MAX_READ = 1 << 30
"""Bytes per system call; Linux moves at most 2 GiB at once."""


class WeightFile:
    """An open regular file; ``size`` is its size in bytes when it was opened.

    Raises ModelNotFound when there is no such file, BadFile when it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # O_NONBLOCK: opening a named pipe would otherwise wait for a writer for ever.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise ModelNotFound(f"{path}: no such file; check the path") from None
        except OSError as error:
            raise BadFile(f"{path}: cannot be opened: {error.strerror}") from None
        status = os.fstat(self._descriptor)
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise BadFile(f"{path}: not a regular file; give the path of a weights file")

    def read(self, offset: int, num_bytes: int, what: str) -> bytes:
        """Exactly ``num_bytes`` at ``offset``; the caller has checked them against ``size``."""
        pieces: list[bytes] = []
        done = 0
        while done < num_bytes:
            with self._explained(what):
                piece = os.pread(self._open_descriptor(), num_bytes - done, offset + done)
            if not piece:
                raise self._cut_short(what, offset + num_bytes, offset + done)
            pieces.append(piece)
            done += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_into(self, buffer: NDArray[np.generic], offset: int, what: str) -> None:
        """Fill a C-contiguous buffer; raises BadFile, naming ``what``, if bytes are missing."""
        view = buffer.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(view):
            with self._explained(what):
                rest = view[done : done + _MAX_READ]
                got = os.preadv(self._open_descriptor(), [rest], offset + done)
            if not got:
                raise self._cut_short(what, offset + len(view), offset + done)
            done += got

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open_descriptor(self) -> int:
        if self._descriptor < 0:
            raise ValueError(f"{self.path}: read after close")
        return self._descriptor

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn an error of the operating system into one that names the file and ``what``."""
        try:
            yield
        except OSError as error:
            raise BadFile(
                f"{self.path}: {what} cannot be read: {error.strerror}; check the disk"
            ) from None

    def _cut_short(self, what: str, wanted: int, present: int) -> BadFile:
        return BadFile(
            f"{self.path}: {what} ends at byte {wanted}, but the file now ends at {present}; "
            "it changed while it was open, start again"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
