"""The folder of packed weights: find, make, list, free.

An entry is named by the identity (device, inode, size, mtime) of the source files and by how their
weights are wanted, so a start does not hash them again. It is written aside and renamed, under a
lock, so that two processes that want the same model pack it once. Where the disk is too small,
weights are packed in memory instead, and the caller is told.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wazn.errors import BadFile
from wazn.settings import Settings
from wazn.weights.disk import exclusive, format_bytes, move_into_place, storage_errors
from wazn.weights.packed import (
    MAGIC,
    Advance,
    PackedWeights,
    Packing,
    SourceFile,
    map_packed,
    pack_in_memory,
    pack_to_file,
    packed_size,
    read_header,
)

_SPARE_BYTES = 64 << 20  # left free on the disk besides the packed file


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One packed model. ``last_used`` is in seconds since the epoch.

    ``weights`` is how they were wanted.
    """

    path: Path
    sources: tuple[SourceFile, ...]
    size_bytes: int
    last_used: float
    weights: str

    @property
    def model(self) -> str:
        """The path of the model's first source file."""
        return self.sources[0].path if self.sources else "?"


@dataclass(frozen=True, slots=True)
class PackingOptions:
    """How to pack: threads, and whom to tell. ``notify`` gets sentences for the user."""

    threads: int
    advance: Advance
    notify: Callable[[str], None]


class PackedCache:
    """Packed weights under ``settings.cache``."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.cache / "packed"
        self.limit = settings.cache_limit

    def open(self, packing: Packing, options: PackingOptions) -> PackedWeights:
        """The packed form of a checkpoint."""
        path = self._path(packing)
        found = self._map(path)
        if found is not None:
            return found
        size = packed_size(packing.plan())
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            free = shutil.disk_usage(self.folder).free
        if size + _SPARE_BYTES > free:
            options.notify(
                f"Packed weights take {format_bytes(size)}, and {self.folder} has "
                f"{format_bytes(free)} free: they are packed in memory, at every start."
            )
            return pack_in_memory(packing, options.threads, options.advance)

        def wait() -> None:
            options.notify("Another process is packing this model; waiting for it.")

        with exclusive(path.with_suffix(".lock"), wait):
            found = self._map(path)
            if found is None:
                self._make(path, packing, options)
                found = map_packed(path, read_header(path))
        if self.limit is not None:
            self.prune(self.limit, keep=path)
        return found

    def _make(self, path: Path, packing: Packing, options: PackingOptions) -> None:
        aside = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with storage_errors(aside):
                pack_to_file(packing, aside, options.threads, options.advance)
                move_into_place(aside, path)
        finally:
            aside.unlink(missing_ok=True)

    def _map(self, path: Path) -> PackedWeights | None:
        """The entry, if it is there and whole; a damaged one is left to be packed again."""
        try:
            packed = map_packed(path, read_header(path))
            os.utime(path)  # the time of last use, for pruning
        except (OSError, BadFile):
            return None
        return packed

    def _path(self, packing: Packing) -> Path:
        files = [SourceFile.of(path).identity for path in packing.container.paths]
        identity = repr([packing.weights, packing.settings, *files]).encode()
        return self.folder / f"{hashlib.sha256(MAGIC + identity).hexdigest()[:32]}.packed"

    def entries(self) -> list[CacheEntry]:
        """All entries, the last used first; files that are not whole are listed without sources."""
        found = []
        for path in self.folder.glob("*.packed"):
            status = path.stat()
            try:
                header = read_header(path)
                sources, weights = header.sources, header.weights
            except BadFile:
                sources, weights = (), "?"
            found.append(CacheEntry(path, sources, status.st_size, status.st_mtime, weights))
        return sorted(found, key=lambda entry: entry.last_used, reverse=True)

    def prune(self, limit_bytes: int, keep: Path | None = None) -> int:
        """Delete what was unused the longest until the rest fits; returns the bytes freed."""
        entries = self.entries()
        excess = sum(entry.size_bytes for entry in entries) - limit_bytes
        freed = 0
        for entry in reversed(entries):
            if freed >= excess:
                break
            if entry.path != keep:
                freed += self._delete(entry)
        return freed

    def clear(self) -> int:
        """Delete every entry; processes that have one mapped keep it. Returns the bytes freed."""
        return sum(self._delete(entry) for entry in self.entries())

    def forget(self, paths: tuple[Path, ...]) -> int:
        """Delete the entry of these source files; returns the bytes freed."""
        wanted = {str(path.absolute()) for path in paths}
        return sum(
            self._delete(entry)
            for entry in self.entries()
            if any(source.path in wanted for source in entry.sources)
        )

    def _delete(self, entry: CacheEntry) -> int:
        entry.path.unlink(missing_ok=True)
        return entry.size_bytes
