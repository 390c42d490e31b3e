"""One file over HTTP: resumed where it stopped, hashed as it comes, never trusted before the end.

Knows ranges, lengths and digests; knows nothing of hubs or of where models are kept. A resumed
file cannot mix two revisions: the URL is pinned to a commit, the caller names `part` after the
promised digest, and the whole is hashed, bytes of earlier runs included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import httpx

from wazn.errors import FetchError
from wazn.weights.disk import storage_errors
from wazn.weights.sources import Digest, Progress
from wazn.weights.sources.checksums import Checksums
from wazn.weights.sources.session import PassingFault, Patience, Refusal, Session

_ATTEMPTS = 8  # without a single new byte in between
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to download: where, what to call it, and what its listing promised."""

    url: str
    name: str
    size: int
    digest: Digest


def download(session: Session, wanted: Wanted, part: Path, progress: Progress) -> str:
    """Bring `part` to the promised size and digest; returns its SHA-256.

    Raises FetchError (network, refusal, wrong bytes: then `part` is discarded) or StorageError.
    Whatever else interrupts it, the bytes in `part` are kept for the next call.
    """
    transfer = _Transfer(session, wanted, part, progress)
    with storage_errors(part):
        transfer.take_up()
        try:
            transfer.run()
        finally:
            progress.finish()
        return transfer.verified()


class _Transfer:
    def __init__(self, session: Session, wanted: Wanted, part: Path, progress: Progress) -> None:
        self._session = session
        self._wanted = wanted
        self._part = part
        self._progress = progress
        self._have = 0
        self._checksums = Checksums(wanted.size, wanted.digest)

    def take_up(self) -> None:
        """Hash what an earlier run left; a part that is too long is of no use."""
        if self._part.exists() and self._part.stat().st_size <= self._wanted.size:
            self._have = self._checksums.add_file(self._part, lambda num_bytes: None)
        else:
            self._part.write_bytes(b"")
        self._progress.start(self._wanted.name, self._wanted.size, self._have)

    def run(self) -> None:
        patience = Patience(_ATTEMPTS)
        while self._have < self._wanted.size:
            before = self._have
            try:
                self._request()
            except PassingFault as fault:
                if self._have > before:
                    patience.renew()
                patience.wait(fault)

    def verified(self) -> str:
        try:
            self._checksums.check(self._wanted.name)
        except FetchError:
            self._part.unlink()
            raise
        return self._checksums.sha256()

    def _request(self) -> None:
        asked = {"Range": f"bytes={self._have}-"} if self._have else {}
        try:
            with self._session.stream(self._wanted.url, asked) as response:
                self._accept(response)
                self._receive(response)
        except Refusal as refusal:
            if refusal.status == 416 and self._have:
                self._restart()
                raise PassingFault(str(refusal)) from refusal
            raise
        if self._have < self._wanted.size:
            raise PassingFault(
                f"{self._wanted.name} broke off after {self._have} of {self._wanted.size} bytes."
            )

    def _accept(self, response: httpx.Response) -> None:
        """Check which bytes of which file the body holds, and start anew if not those asked for.

        What counts is Content-Range: ModelScope answers ranges correctly, but with status 200.
        """
        given = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        start = int(given[1]) if given else 0
        if start != self._have or (response.status_code == 206 and not given):
            self._restart()
            if start or response.status_code == 206:
                raise PassingFault(f"The server sent another range of {self._wanted.name}.")
        promised = self._wanted.size
        length = response.headers.get("Content-Length", "")
        if given:  # a server may send less than was asked for; the loop asks for the rest
            offered = promised if given[3] == "*" else int(given[3])
        else:
            offered = int(length) if length.isdecimal() else promised
        if offered != promised:
            raise FetchError(
                f"The server offers {self._wanted.name} with {offered} bytes, but its listing "
                f"says {promised}. Try again later, or use another mirror."
            )

    def _receive(self, response: httpx.Response) -> None:
        with open(self._part, "ab") as file:
            for piece in response.iter_raw():
                if self._have + len(piece) > self._wanted.size:
                    self._restart()
                    raise FetchError(
                        f"The server sent more than the {self._wanted.size} bytes of "
                        f"{self._wanted.name}; it was discarded."
                    )
                file.write(piece)
                self._checksums.update(piece)
                self._have += len(piece)
                self._progress.advance(len(piece))

    def _restart(self) -> None:
        self._part.write_bytes(b"")
        self._checksums = Checksums(self._wanted.size, self._wanted.digest)
        if self._have:
            self._have = 0
            self._progress.finish()
            self._progress.start(self._wanted.name, self._wanted.size, 0)
