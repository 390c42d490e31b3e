"""Models that lie in the user's own folders: GGUF files and Hugging Face directories.

They are opened where they are: never copied, hashed or deleted.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from wazn.errors import ModelNotFound
from wazn.weights.disk import storage_errors
from wazn.weights.manifests import StoredFile, StoredModel
from wazn.weights.references import Reference
from wazn.weights.sources.selection import choose_directory, gguf_sets

_PART = re.compile(r"-\d{5}-of-(\d{5}\.gguf)$")


def find_path(reference: Reference) -> StoredModel:
    """The model at a path; parts of a split file count as its files. Raises ModelNotFound."""
    path = Path(reference.name)
    with storage_errors(path):
        if path.is_dir():
            names = _directory(path)
            folder = path
        elif path.is_file():
            names = _parts(path)
            folder = path.parent
        else:
            raise ModelNotFound(_missing(path))
        files = tuple(StoredFile(name, (folder / name).stat().st_size, None) for name in names)
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
    return StoredModel(str(path), path, files, "path", "", None, changed.isoformat())


def _directory(path: Path) -> tuple[str, ...]:
    names = sorted(entry.name for entry in path.iterdir())
    sets = gguf_sets(names)
    if sets and "config.json" not in names:
        listed = ", ".join(str(path / members[0]) for members in sets[:5])
        raise ModelNotFound(f"{path} is a folder; name the GGUF file in it: {listed}.")
    return choose_directory(names, str(path))


def _parts(path: Path) -> tuple[str, ...]:
    split = _PART.search(path.name)
    if split is None:
        return (path.name,)
    stem = path.name[: split.start()]
    return tuple(
        sorted(
            entry.name
            for entry in path.parent.iterdir()
            if re.fullmatch(rf"{re.escape(stem)}-\d{{5}}-of-{re.escape(split[1])}", entry.name)
        )
    )


def _missing(path: Path) -> str:
    meant = ""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)):
        meant = f' A repository of Hugging Face is written "hf:{path}".'
    return f"There is no file or folder {path}.{meant}"
