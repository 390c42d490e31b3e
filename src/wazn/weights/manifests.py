"""What the store remembers of a model: one small JSON file per reference.

A manifest is written last, so a model whose manifest exists was once complete. File names in it
are relative to the model's folder, so the whole store may be moved.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from wazn.errors import BadFile, WaznError
from wazn.weights.disk import storage_errors, write_atomically
from wazn.weights.references import Reference, SourceName, is_plain_path, parse_reference

_VERSION = 1
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a model: name inside its folder, bytes, and SHA-256 (None when never hashed)."""

    name: str
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model on this machine. `path` is its (first) GGUF file or its Hugging Face directory.

    `reference` is canonical text, `revision` the commit or version it stood for (empty for a path)
    and `added` an ISO date.
    """

    reference: str
    path: Path
    files: tuple[StoredFile, ...]
    source: SourceName
    revision: str
    license: str | None
    added: str


def repository_folder(root: Path, reference: Reference) -> Path:
    """Where all revisions of a repository or package are kept."""
    return root.joinpath("models", reference.source, *reference.name.split("/"))


def model_folder(root: Path, reference: Reference, revision: str) -> Path:
    """Where one revision is kept. Raises BadFile for a revision that is no plain name."""
    if not _REVISION.fullmatch(revision):
        raise BadFile(f"{reference} has the revision {revision!r}, which is not a plain name.")
    return repository_folder(root, reference) / revision


def manifest_path(root: Path, reference: Reference) -> Path:
    """Readable first, unique by its hash."""
    text = str(reference)
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", text)[:80]
    return root / "manifests" / f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def entry_path(folder: Path, names: tuple[str, ...]) -> Path:
    """What a model is opened by: its first GGUF file, or the folder of a Hugging Face directory."""
    return folder / names[0] if names[0].lower().endswith(".gguf") else folder


def write_manifest(root: Path, model: StoredModel) -> None:
    reference = parse_reference(model.reference)
    content = {
        "version": _VERSION,
        "reference": model.reference,
        "revision": model.revision,
        "license": model.license,
        "added": model.added,
        "files": [asdict(file) for file in model.files],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_atomically(manifest_path(root, reference), text.encode())


def read_manifest(root: Path, reference: Reference) -> StoredModel | None:
    """What is remembered of a reference, if anything. Raises BadFile for a damaged manifest."""
    path = manifest_path(root, reference)
    with storage_errors(path):
        return _read(root, path) if path.exists() else None


def read_manifests(root: Path) -> Iterator[StoredModel]:
    """All that is remembered, by reference. Raises BadFile for a damaged manifest."""
    with storage_errors(root):
        paths = sorted((root / "manifests").glob("*.json"))
    for path in paths:
        with storage_errors(path):
            model = _read(root, path)
        yield model


def _read(root: Path, path: Path) -> StoredModel:
    try:
        content = json.loads(path.read_bytes())
        reference = parse_reference(content["reference"])
        files = tuple(_file(entry) for entry in content["files"])
        folder = model_folder(root, reference, content["revision"])
        if content["version"] != _VERSION or not files:
            raise ValueError("unknown version")
        return StoredModel(
            reference=str(reference),
            path=entry_path(folder, tuple(file.name for file in files)),
            files=files,
            source=reference.source,
            revision=content["revision"],
            license=content["license"],
            added=content["added"],
        )
    except (ValueError, KeyError, TypeError, RecursionError, WaznError):
        raise BadFile(
            f"{path} is damaged or from another version of wazn. Delete it and pull the model "
            "again; what is already there is not fetched again."
        ) from None


def _file(entry: dict[str, object]) -> StoredFile:
    name, size, sha256 = entry["name"], entry["size"], entry["sha256"]
    if not isinstance(name, str) or not is_plain_path(name) or type(size) is not int:
        raise ValueError("name or size")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError("sha256")
    return StoredFile(name, size, sha256)
