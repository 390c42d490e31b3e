"""Incremental digests of a file that arrives in pieces, and the sentence when they disagree."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from wazn.errors import FetchError
from wazn.weights.sources import Digest

_CHUNK_BYTES = 1 << 20


class Checksums:
    """SHA-256 of a file of `size` bytes, and the git blob id too when that is what is published."""

    def __init__(self, size: int, expected: Digest | None) -> None:
        self._expected = expected
        self._sha256 = hashlib.sha256()
        self._git = None
        if expected is not None and expected.algorithm == "git-sha1":
            self._git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        self._sha256.update(piece)
        if self._git is not None:
            self._git.update(piece)

    def add_file(self, path: Path, on_bytes: Callable[[int], None]) -> int:
        """Add all of a file; returns its length in bytes."""
        num_bytes = 0
        with open(path, "rb") as file:
            while piece := file.read(_CHUNK_BYTES):
                self.update(piece)
                num_bytes += len(piece)
                on_bytes(len(piece))
        return num_bytes

    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def agree(self) -> bool:
        """Whether the bytes so far are the file that was promised."""
        return self._expected is None or self._actual() == self._expected.value

    def check(self, name: str) -> None:
        """Raise FetchError with both digests when the bytes are not the promised file."""
        if self._expected is not None and not self.agree():
            raise FetchError(
                f"{name} arrived with {self._expected.algorithm} {self._actual()}, but "
                f"{self._expected.value} was promised. It was discarded; try again, or use "
                "another mirror."
            )

    def _actual(self) -> str:
        return self.sha256() if self._git is None else self._git.hexdigest()
