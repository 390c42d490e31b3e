"""Reading what a hub says about a repository: JSON from outside, checked before it is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from wazn.errors import FetchError
from wazn.weights.quoting import quoted
from wazn.weights.references import Reference, is_plain_path
from wazn.weights.sources import Digest, RemoteFile, Snapshot
from wazn.weights.sources.selection import choose_files

_LARGEST_FILE_BYTES = 1 << 46
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_DIGESTS = {"sha256": re.compile(r"[0-9a-f]{64}"), "git-sha1": re.compile(r"[0-9a-f]{40}")}


def mapping(value: object, what: str) -> Mapping[str, object]:
    """`value` as a JSON object, or a FetchError naming it."""
    if not isinstance(value, dict):
        raise FetchError(f"The hub's answer has no usable {what!r}; is this address a hub?")
    return cast("dict[str, object]", value)


def mappings(value: object, what: str) -> list[Mapping[str, object]]:
    """`value` as a list of JSON objects, or a FetchError naming it."""
    if not isinstance(value, list):
        raise FetchError(f"The hub's answer has no usable {what!r}; is this address a hub?")
    return [mapping(entry, what) for entry in value]


def is_commit(value: object) -> bool:
    return isinstance(value, str) and _COMMIT.fullmatch(value) is not None


def digest(algorithm: str, value: object) -> Digest | None:
    """A digest if the hub published a well-formed one."""
    if not isinstance(value, str) or not _DIGESTS[algorithm].fullmatch(value.lower()):
        return None
    return Digest("sha256" if algorithm == "sha256" else "git-sha1", value.lower())


def snapshot(
    reference: Reference,
    revision: str,
    license: str | None,
    listed: Mapping[str, tuple[object, Digest | None]],
) -> Snapshot:
    """Choose the wanted files among `listed` (name → size, digest) and check their entries."""
    what = f"{reference.source}:{reference.name}"
    chosen = choose_files(listed, reference.file_or_quant, what)
    files = []
    for name in chosen:
        size, promised = listed[name]
        if not is_plain_path(name):
            raise FetchError(
                f"{what} lists a file named {quoted(name)}, which is not a plain name."
            )
        if type(size) is not int or not 0 <= size <= _LARGEST_FILE_BYTES:
            raise FetchError(f"{what} lists {name} with a size of {quoted(str(size))}.")
        if promised is None:
            raise FetchError(
                f"{what} publishes no checksum for {name}, so what arrives could not be checked. "
                "Use another mirror."
            )
        files.append(RemoteFile(name, size, promised))
    return Snapshot(revision, license, tuple(files))
