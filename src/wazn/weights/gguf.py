"""GGUF files, versions 2 and 3, in one part or split into many.

Knows how the parts of a split model (``-00001-of-0000N.gguf``) find and confirm each other; the
header of each part is read by ``gguf_header``. Tensors are read by position, never mapped.
It refuses to know architectures, and what metadata keys mean but for ``split.*``.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from wazn.errors import BadFile, ModelNotFound
from wazn.weights.container import FileContainer, TensorInfo
from wazn.weights.files import WeightFile
from wazn.weights.gguf_header import Header, read_header
from wazn.weights.gguf_metadata import Metadata, MetadataValue
from wazn.weights.quoting import quoted

__all__ = ["GGUF", "Metadata", "MetadataValue"]


class GGUF(FileContainer):
    """An open GGUF model; ``path`` may be any part of a split one.

    ``metadata`` is that of the first part; its strings may hold lone surrogates where the file is
    no UTF-8 (``text.encode("utf-8", "surrogateescape")`` gives the bytes back).
    Raises BadFile, UnsupportedModel or ModelNotFound.
    """

    metadata: Metadata

    def __init__(self, path: Path | str) -> None:
        with ExitStack() as opened:
            parts = _open_parts(Path(path), opened)
            super().__init__([part.file for part in parts], _merge(parts))
            opened.pop_all()
        self.metadata = MappingProxyType(parts[0].header.metadata)


@dataclass(frozen=True, slots=True)
class _Part:
    file: WeightFile
    header: Header


def _open_parts(path: Path, opened: ExitStack) -> list[_Part]:
    """The part at ``path`` and all that belong to it, in order; ``opened`` closes the files."""

    def open_part(path: Path) -> _Part:
        file = opened.enter_context(WeightFile(path))
        return _Part(file, read_header(file))

    given = open_part(path)
    count = _split_value(given, "split.count") if "split.count" in given.header.metadata else 1
    if count <= 1:
        return [given]
    given_number = _split_value(given, "split.no")
    prefix = _prefix(path, given_number, count)
    parts = []
    for number in range(count):
        if number == given_number:
            parts.append(given)
            continue
        part_path = path.with_name(prefix + _suffix(number, count))
        try:
            parts.append(open_part(part_path))
        except ModelNotFound:
            raise BadFile(
                f"{part_path}: part {number + 1} of {count} is missing; fetch the whole model"
            ) from None
        _check_place(parts[-1], number, count)
    return parts


def _suffix(number: int, count: int) -> str:
    return f"-{number + 1:05d}-of-{count:05d}.gguf"


def _prefix(path: Path, number: int, count: int) -> str:
    """What the file names of all parts begin with."""
    suffix = _suffix(number, count)
    if not path.name.endswith(suffix):
        raise BadFile(
            f"{path}: is part {number + 1} of {count} by its metadata 'split.no' and "
            f"'split.count', so its name must end in {suffix!r}; rename it"
        )
    return path.name.removesuffix(suffix)


def _check_place(part: _Part, number: int, count: int) -> None:
    place = _split_value(part, "split.no"), _split_value(part, "split.count")
    if place != (number, count):
        raise BadFile(
            f"{part.file.path}: metadata 'split.no' and 'split.count' are {place[0]} and "
            f"{place[1]}, its name says {number} and {count}; fetch the whole model again"
        )


def _split_value(part: _Part, key: str) -> int:
    value = part.header.metadata.get(key)
    if type(value) is not int or value < 0:
        shown = quoted(str(value)[:100])
        raise BadFile(f"{part.file.path}: metadata {key!r} is {shown}, not a count; fetch it again")
    return value


def _merge(parts: list[_Part]) -> dict[str, TensorInfo]:
    """The tensors of all parts, each with the number of its file."""
    tensors: dict[str, TensorInfo] = {}
    for number, part in enumerate(parts):
        for name, tensor in part.header.tensors.items():
            if name in tensors:
                raise BadFile(
                    f"{part.file.path}: tensor {quoted(name)} is also in part "
                    f"{tensors[name].file + 1}; fetch the whole model again"
                )
            tensors[name] = replace(tensor, file=number) if number else tensor
    if len(parts) > 1 and len(tensors) != (count := _split_value(parts[0], "split.tensors.count")):
        raise BadFile(
            f"{parts[0].file.path}: metadata 'split.tensors.count' is {count}, the {len(parts)} "
            f"parts hold {len(tensors)} tensors; fetch the whole model again"
        )
    return tensors
