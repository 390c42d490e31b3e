"""The journal of a capture: what was asked and which answer came, one line each, synced as it goes.

It is what a capture continues from after anything, `kill -9` included: an answer that is in the
journal is in the raw store and is not asked for again. A line that a kill cut in half is cut off.
When the capture has ended the journal is kept as its record. Knows files; knows no source.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from wazn.errors import BadRequest
from wazn.weigh.durable import append_line, storage_errors, sync_folder, write_whole

MAX_AGE = timedelta(hours=20)
"""Older answers are not of the same day any more; a capture that old is begun anew."""


class Header(msgspec.Struct, frozen=True, tag="begin", tag_field="line"):
    """The first line: whose capture this is, which day it stands for, and when it began."""

    source: str
    as_of: date
    began: datetime


class Entry(msgspec.Struct, frozen=True, tag="answer", tag_field="line"):
    """One answer that was good: the request, and the response but for its body."""

    url: str
    what: str
    sha256: str
    content_type: str
    next_url: str | None
    captured_at: datetime


class Remark(msgspec.Struct, frozen=True, tag="remark", tag_field="line"):
    """A fault, or the summary at the end, in words."""

    text: str
    sha256: str | None = None


Line = Header | Entry | Remark


class Journal:
    """The journal of one capture in a folder of unfinished ones. Use it under `locked()`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.jsonl"
        self._lock = folder / f"{name}.lock"
        self._name = name
        self.entries: dict[str, Entry] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold this capture for this process; raises BadRequest when another one has it."""
        with storage_errors(self._lock):
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadRequest(
                    f"another process is observing the same ({self._name}); wait until it ends."
                ) from None
            yield
        finally:
            os.close(handle)

    def take_up(self, source: str, now: datetime, say: Callable[[str], None]) -> Header:
        """Continue the journal that is there, or begin one; `say` hears of one that is too old."""
        header = self._read()
        if header is not None and header.source == source and now - header.began < MAX_AGE:
            return header
        if header is not None and self.entries:
            say(
                f"a capture of {header.as_of} that did not end is too old to continue; its "
                f"{len(self.entries)} answers are kept, and nothing of them is stored"
            )
        self.entries = {}
        header = Header(source, now.date(), now)
        write_whole(self._path, _json(header) + b"\n")
        return header

    def note(self, line: Entry | Remark) -> None:
        """Add a line; it is on the disk when this returns."""
        append_line(self._path, _json(line))
        if isinstance(line, Entry):
            self.entries[line.url] = line

    def close(self, kept: Path) -> None:
        """Keep the journal of an ended capture under a name of its own."""
        with storage_errors(kept):
            kept.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._path, kept)
            sync_folder(kept.parent)

    def discard(self) -> None:
        """Give up what came; the next capture begins anew."""
        with storage_errors(self._path):
            self._path.unlink(missing_ok=True)

    def _read(self) -> Header | None:
        """Read what is there, and cut it off behind the last line that is whole."""
        with storage_errors(self._path):
            content = self._path.read_bytes() if self._path.exists() else b""
        header: Header | None = None
        end = 0
        for line in content.splitlines(keepends=True):
            value = _parsed(line)
            if value is None or (header is None) != isinstance(value, Header):
                break
            if isinstance(value, Header):
                header = value
            elif isinstance(value, Entry):
                self.entries[value.url] = value
            end += len(line)
        if header is not None and end < len(content):
            write_whole(self._path, content[:end])
        return header


def _json(line: Line) -> bytes:
    return msgspec.json.encode(line)


def _parsed(line: bytes) -> Line | None:
    """One line; None for one that is cut or damaged."""
    if not line.endswith(b"\n"):
        return None
    try:
        value: Any = msgspec.json.decode(line, type=Line)
    except msgspec.DecodeError:
        return None
    return value  # type: ignore[no-any-return]
