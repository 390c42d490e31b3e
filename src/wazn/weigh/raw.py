"""Raw responses, kept by the SHA-256 of their bytes: what every observation can be checked against.

Content is compressed with gzip and named by the hash of the bytes before that, so equal responses
are kept once and a damaged file is noticed. Knows bytes; knows nothing of what they say.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from pathlib import Path

from wazn.errors import BadFile, BadRequest
from wazn.weigh.durable import storage_errors, write_whole

_SHA256 = re.compile(r"[0-9a-f]{64}")


class RawStore:
    """Responses in a folder; several processes may write at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> str:
        """Keep the bytes; returns their SHA-256. Raises StorageError when the disk refuses."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._path(sha256)
        if not path.exists():
            write_whole(path, gzip.compress(content, compresslevel=6, mtime=0))
        return sha256

    def get(self, sha256: str) -> bytes:
        """The bytes of that hash. Raises BadRequest where none are kept, BadFile for damage."""
        if not _SHA256.fullmatch(sha256):
            raise BadRequest(f"{sha256[:80]!r} is not a SHA-256; give 64 hexadecimal digits.")
        path = self._path(sha256)
        try:
            with storage_errors(path):
                packed = path.read_bytes() if path.exists() else None
            if packed is None:
                raise BadRequest(f"no response with the SHA-256 {sha256} is kept in {self.folder}.")
            content = gzip.decompress(packed)
        except (zlib.error, EOFError, gzip.BadGzipFile):
            raise BadFile(f"{path} is damaged: it is no gzip file; delete it.") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BadFile(f"{path} is damaged: its content has another hash; delete it.")
        return content

    def _path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / f"{sha256[2:]}.gz"
