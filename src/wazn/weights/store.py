"""The local store: finds models without the network, pulls, verifies and removes them.

    manifests/…json                              one per reference: files, sizes, SHA-256, revision
    models/<source>/<org>/<name>/<revision>/…    the files under their own names
    models/<source>/<org>/<name>/.partial/…      unfinished downloads, named after their digest
    locks/…                                      one per repository

A file is moved to its name only after its digest was checked. The same content wanted by another
model becomes a hard link. The store knows nothing of what is in the files, and of networks only
that a source may use one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from wazn.errors import BadRequest, ModelNotFound
from wazn.settings import Settings, load_settings
from wazn.weights.disk import exclusive, move_into_place, require_space, storage_errors
from wazn.weights.local_paths import find_path
from wazn.weights.manifests import (
    StoredFile,
    StoredModel,
    entry_path,
    manifest_path,
    model_folder,
    read_manifest,
    read_manifests,
    repository_folder,
    write_manifest,
)
from wazn.weights.references import Reference, parse_reference
from wazn.weights.sources import Progress, RemoteFile, Snapshot, Source, Workspace, open_source
from wazn.weights.sources.checksums import Checksums

__all__ = ["Problem", "Progress", "Store", "StoredFile", "StoredModel"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A stored file that is not what it was: its name, what is wrong, and a sentence."""

    file: str
    kind: Literal["missing", "size", "hash"]
    detail: str


Problems = list[Problem]


class _Silent:
    """Progress for callers who want none."""

    def start(self, name: str, total_bytes: int | None, already: int) -> None:
        pass

    def advance(self, num_bytes: int) -> None:
        pass

    def finish(self) -> None:
        pass


class Store:
    """All models of one user. Safe with several processes at once."""

    def __init__(self, root: Path | None = None, settings: Settings | None = None) -> None:
        """`root` defaults to the setting `home`; `settings` to what load_settings() finds."""
        self._settings = load_settings() if settings is None else settings
        self.root = self._settings.home if root is None else root

    def find(self, reference: str) -> StoredModel | None:
        """The model if it is complete on this machine; never uses the network.

        Raises ModelNotFound for an unknown alias or a path where nothing is.
        """
        return self._find(parse_reference(reference))

    def get(
        self, reference: str, progress: Progress | None = None, offline: bool = False
    ) -> StoredModel:
        """The model, fetched first if it is not here. Raises what `pull` raises."""
        parsed = parse_reference(reference)
        return self._find(parsed) or self._pull(parsed, progress, offline, only_missing=True)

    def pull(
        self, reference: str, progress: Progress | None = None, offline: bool = False
    ) -> StoredModel:
        """Bring the model to what its reference stands for now, repairing damaged files.

        Raises ModelNotFound, BadRequest, FetchError, StorageError or BadFile.
        """
        parsed = parse_reference(reference)
        if parsed.source == "path":
            return find_path(parsed)
        return self._pull(parsed, progress, offline, only_missing=False)

    def list(self) -> list[StoredModel]:
        """Every model that was pulled, by reference."""
        return sorted(read_manifests(self.root), key=lambda model: model.reference)

    def remove(self, reference: str) -> int:
        """Forget a model and delete what no other model needs; returns the bytes freed.

        Unfinished downloads of its repository go too. Raises ModelNotFound, and BadRequest for a
        path.
        """
        parsed = parse_reference(reference)
        if parsed.source == "path":
            raise BadRequest(f"{parsed} lies outside the store; delete it with your own tools.")
        with self._exclusive(parsed, _Silent()), storage_errors(self.root):
            known = manifest_path(self.root, parsed).exists()
            manifest_path(self.root, parsed).unlink(missing_ok=True)
            freed = self._delete_unneeded(parsed, _files_in(repository_folder(self.root, parsed)))
        if not known and not freed:
            raise ModelNotFound(f'{parsed} is not in the store; "wazn list" shows what is.')
        return freed

    def verify(self, reference: str, progress: Progress | None = None) -> Problems:
        """Hash every file of a stored model again.

        Raises ModelNotFound, and BadRequest for a path.
        """
        parsed = parse_reference(reference)
        if parsed.source == "path":
            raise BadRequest(f"{parsed} was not pulled, so there is no digest to compare with.")
        model = read_manifest(self.root, parsed)
        if model is None:
            raise ModelNotFound(f'{parsed} is not in the store; "wazn list" shows what is.')
        folder = model_folder(self.root, parsed, model.revision)
        found = (_problem(folder, file, progress or _Silent()) for file in model.files)
        return [problem for problem in found if problem is not None]

    def _find(self, reference: Reference) -> StoredModel | None:
        if reference.source == "path":
            return find_path(reference)
        model = read_manifest(self.root, reference)
        if model is None:
            return None
        folder = model_folder(self.root, reference, model.revision)
        complete = all(_size(folder / file.name) == file.size for file in model.files)
        return model if complete else None

    def _pull(
        self, reference: Reference, progress: Progress | None, offline: bool, *, only_missing: bool
    ) -> StoredModel:
        progress = progress or _Silent()
        settings = dataclasses.replace(self._settings, offline=self._settings.offline or offline)
        partial = repository_folder(self.root, reference) / ".partial"
        with self._exclusive(reference, progress):
            # another process may have fetched it while this one waited for the lock
            present = self._find(reference) if only_missing else None
            if present is not None:
                return present
            with storage_errors(partial):
                partial.mkdir(parents=True, exist_ok=True)
            workspace = Workspace(settings, partial, progress)
            with closing(open_source(reference, workspace)) as source:
                model = self._fetch(reference, source, workspace)
            previous = read_manifest(self.root, reference)
            write_manifest(self.root, model)
            if previous is not None:
                folder = model_folder(self.root, reference, previous.revision)
                outdated = [folder / file.name for file in previous.files]
                self._delete_unneeded(reference, outdated)
        return model

    def _fetch(self, reference: Reference, source: Source, workspace: Workspace) -> StoredModel:
        snapshot = source.resolve()
        folder = model_folder(self.root, reference, snapshot.revision)
        digests = {
            file.name: self._present(folder / file.name, file, workspace.progress)
            for file in snapshot.files
        }
        missing = [file for file in snapshot.files if digests[file.name] is None]
        parts = {file.name: workspace.folder / _part_name(snapshot, file) for file in missing}
        needed = sum(max(0, file.size - (_size(parts[file.name]) or 0)) for file in missing)
        require_space(workspace.folder, needed, str(reference))
        for file in missing:
            digests[file.name] = source.fetch(file, parts[file.name])
            with storage_errors(folder):
                (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
                move_into_place(parts[file.name], folder / file.name)
        return StoredModel(
            reference=str(reference),
            path=entry_path(folder, tuple(file.name for file in snapshot.files)),
            files=tuple(StoredFile(f.name, f.size, digests[f.name]) for f in snapshot.files),
            source=reference.source,
            revision=snapshot.revision,
            license=snapshot.license,
            added=datetime.now(UTC).date().isoformat(),
        )

    def _present(self, path: Path, file: RemoteFile, progress: Progress) -> str | None:
        """The SHA-256 of the wanted content if it is here, linked to `path` if it was elsewhere."""
        if file.digest is None:
            return None
        for place in (path, *self._same_content(file)):
            if _size(place) != file.size:
                continue
            checksums = _hashed(place, Checksums(file.size, file.digest), progress)
            if checksums.agree() and (place == path or _link(place, path)):
                return checksums.sha256()
        return None

    def _same_content(self, file: RemoteFile) -> Iterator[Path]:
        """Files of other models that should hold what `file` holds."""
        for model in read_manifests(self.root):
            folder = model_folder(self.root, parse_reference(model.reference), model.revision)
            for stored in model.files:
                if file.digest is not None and stored.sha256 == file.digest.value:
                    yield folder / stored.name

    def _delete_unneeded(self, reference: Reference, paths: Iterable[Path]) -> int:
        """Delete those files of a repository that no manifest names; returns the bytes freed."""
        wanted: set[Path] = set()
        for model in read_manifests(self.root):
            folder = model_folder(self.root, parse_reference(model.reference), model.revision)
            wanted.update(folder / file.name for file in model.files)
        freed = 0
        repository = repository_folder(self.root, reference)
        with storage_errors(repository):
            for path in set(paths) - wanted:
                freed += _delete(path)
            for folder in (Path(place) for place, _, _ in os.walk(repository, topdown=False)):
                if not any(folder.iterdir()):
                    folder.rmdir()
        return freed

    @contextmanager
    def _exclusive(self, reference: Reference, progress: Progress) -> Iterator[None]:
        name = f"{reference.source}:{reference.name}"
        key = hashlib.sha256(name.encode()).hexdigest()[:32]
        with ExitStack() as waiting:

            def on_wait() -> None:
                progress.start(f"waiting for another wazn that works on {name}", None, 0)
                waiting.callback(progress.finish)

            with exclusive(self.root / "locks" / key, on_wait):
                waiting.close()
                yield


def _part_name(snapshot: Snapshot, file: RemoteFile) -> str:
    unique = file.digest.value if file.digest else f"{snapshot.revision}/{file.name}"
    return hashlib.sha256(unique.encode()).hexdigest()[:40] + ".part"


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _files_in(folder: Path) -> Iterator[Path]:
    return (Path(place, name) for place, _, names in os.walk(folder) for name in names)


def _delete(path: Path) -> int:
    """The bytes that came free; none while the content has another name."""
    try:
        status = path.lstat()
        path.unlink()
    except FileNotFoundError:
        return 0
    return status.st_size if status.st_nlink == 1 else 0


def _link(place: Path, path: Path) -> bool:
    """Whether `path` could be made another name of `place`; some file systems have no links."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.link(place, path)
    except OSError:
        return False
    return True


def _hashed(path: Path, checksums: Checksums, progress: Progress) -> Checksums:
    with storage_errors(path):
        progress.start(f"checking {path.name}", path.stat().st_size, 0)
        try:
            checksums.add_file(path, progress.advance)
        finally:
            progress.finish()
    return checksums


def _problem(folder: Path, file: StoredFile, progress: Progress) -> Problem | None:
    size = _size(folder / file.name)
    if size is None:
        return Problem(file.name, "missing", f"{file.name} is missing from {folder}.")
    if size != file.size:
        return Problem(file.name, "size", f"{file.name} has {size} bytes instead of {file.size}.")
    actual = _hashed(folder / file.name, Checksums(size, None), progress).sha256()
    if actual != file.sha256:
        detail = f"{file.name} has the SHA-256 {actual} instead of {file.sha256}."
        return Problem(file.name, "hash", detail)
    return None
