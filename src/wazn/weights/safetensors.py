"""Safetensors files: one, or many shards listed in ``model.safetensors.index.json``.

The header is checked as the format defines it: tensors cover the data without holes or overlaps,
and each has as many bytes as its shape and dtype say. Tensors are read by position, never mapped.
It refuses to know architectures. Floats that need no scales are ``tensors``, and so are tables of
whole numbers, read as float32 if that can hold them; every tensor, of whatever type, is among
``elements``.
"""

import math
import os
import struct
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile, ModelNotFound, UnsupportedModel
from wazn.weights.bounded_json import parse_object
from wazn.weights.container import FileContainer, TensorInfo
from wazn.weights.elements import BITS, ElementInfo, Elements
from wazn.weights.files import WeightFile
from wazn.weights.formats import Format
from wazn.weights.quoting import quoted
from wazn.weights.ranks import of_rank, rank_shards

MAX_HEADER_BYTES = 100_000_000
"""The cap of the safetensors specification."""

MAX_INDEX_BYTES = 64 << 20
"""The index of the largest known model (140 000 tensors) is 12 MB."""

MAX_DIMENSIONS = 8
INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"

_FORMATS = {"F32": Format.F32, "F16": Format.F16, "BF16": Format.BF16}
_INTEGERS = ("I32", "I64")
_LARGEST_INTEGER = 1 << 24  # up to which float32 holds every whole number
_ENTRY_KEYS = {"dtype", "shape", "data_offsets"}
_LENGTH = struct.Struct("<Q")


class Safetensors(FileContainer):
    """An open ``.safetensors`` file, or a directory with one, with shards of ranks (``ranks``), or
    with an index and its shards.

    Where there is an index, it decides: tensors that it does not list are left out.
    Raises BadFile, UnsupportedModel (a dtype that the format does not know) or ModelNotFound.
    """

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        with ExitStack() as opened:
            if not os.path.isdir(path):
                files = [opened.enter_context(WeightFile(path))]
                tensors = _read_header(files[0])
            elif os.path.exists(path / SINGLE_NAME):
                files = [opened.enter_context(WeightFile(path / SINGLE_NAME))]
                tensors = _read_header(files[0])
            elif shards := rank_shards(path):
                files, tensors = _open_ranks(path, shards, opened)
            else:
                files, tensors = _open_shards(path, opened)
            self.elements = Elements(files, tensors)
            super().__init__(files, _weights(tensors.values()))
            opened.pop_all()

    def read(self, name: str, start_row: int = 0, stop_row: int | None = None) -> NDArray[np.uint8]:
        """Packed rows of a tensor viewed as 2-D; BadFile, too, for a number too large to hold."""
        if name not in self.tensors or self.elements[name].dtype not in _INTEGERS:
            return super().read(name, start_row, stop_row)
        info = self.tensors[name]
        stop_row = info.rows if stop_row is None else stop_row
        numbers = self.elements.rows(name, start_row, stop_row).astype(np.int64)
        if ((numbers > _LARGEST_INTEGER) | (numbers < -_LARGEST_INTEGER)).any():
            raise BadFile(
                f"{self.paths[info.file]}: tensor {quoted(name)} has a whole number beyond "
                f"{_LARGEST_INTEGER}, which no table of a model needs"
            )
        return numbers.astype("<f4").view(np.uint8)


def _weights(tensors: Iterable[ElementInfo]) -> dict[str, TensorInfo]:
    """Those of the tensors whose elements are numbers as they stand."""
    found = {}
    for info in tensors:
        format = Format.F32 if info.dtype in _INTEGERS else _FORMATS.get(info.dtype)
        if format is not None:
            num_bytes = math.prod(info.shape) * format.block_bytes
            found[info.name] = TensorInfo(
                info.name, info.shape, format, info.file, info.offset, num_bytes
            )
    return found


def _open_shards(
    directory: Path, opened: ExitStack
) -> tuple[list[WeightFile], dict[str, ElementInfo]]:
    """The shards of a directory's index, in the order of their names, and the listed tensors."""
    names_of_shard = _read_index(directory)
    files: list[WeightFile] = []
    tensors: dict[str, ElementInfo] = {}
    for number, (shard, names) in enumerate(sorted(names_of_shard.items())):
        try:
            file = opened.enter_context(WeightFile(directory / shard))
        except ModelNotFound:
            raise BadFile(
                f"{directory / shard}: this shard of the model is missing; fetch the model again"
            ) from None
        files.append(file)
        present = _read_header(file)
        for name in names:
            if name not in present:
                raise BadFile(
                    f"{file.path}: tensor {quoted(name)} is not in this shard, though {INDEX_NAME} "
                    "lists it there; fetch the model again"
                )
            tensors[name] = replace(present[name], file=number)
    return files, tensors


def _open_ranks(
    directory: Path, shards: Iterable[tuple[str, int | None]], opened: ExitStack
) -> tuple[list[WeightFile], dict[str, ElementInfo]]:
    """Whole tensors under their names, those of ranks under names that tell the rank."""
    files: list[WeightFile] = []
    tensors: dict[str, ElementInfo] = {}
    for number, (shard, rank) in enumerate(shards):
        files.append(opened.enter_context(WeightFile(directory / shard)))
        for name, info in _read_header(files[-1]).items():
            unique = name if rank is None else of_rank(name, rank)
            if unique in tensors:
                raise BadFile(
                    f"{directory / shard}: tensor {quoted(name)} is in another file of the same "
                    "rank, too; fetch the model again"
                )
            tensors[unique] = replace(info, name=unique, file=number)
    return files, tensors


def _read_index(directory: Path) -> dict[str, list[str]]:
    """The tensor names of each shard file."""
    path = directory / INDEX_NAME
    try:
        file = WeightFile(path)
    except ModelNotFound:
        raise ModelNotFound(
            f"{directory}: has neither {SINGLE_NAME} nor {INDEX_NAME}; check the path"
        ) from None
    with file:
        if file.size > MAX_INDEX_BYTES:
            raise _bad(file, "index", f"is {file.size} bytes long, at most {MAX_INDEX_BYTES}")
        index = parse_object(file.read(0, file.size, "index"), f"{path}: index")
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BadFile(f"{path}: 'weight_map' is missing or empty; fetch the model again")
    names_of_shard: dict[str, list[str]] = {}
    for name, shard in weight_map.items():
        if not _is_plain_file_name(shard):
            raise BadFile(
                f"{path}: 'weight_map' places tensor {quoted(name)} in {quoted(str(shard)[:200])}, "
                "which is no plain file name ending in .safetensors; do not use this model"
            )
        names_of_shard.setdefault(shard, []).append(name)
    return names_of_shard


def _is_plain_file_name(name: object) -> bool:
    """Whether a shard name stays in its directory. (The hub's cache links out of it: allowed.)"""
    return (
        isinstance(name, str)
        and name.endswith(".safetensors")
        and not name.startswith(".")
        and name.isprintable()
        and not set(name) & set("/\\:")
    )


def _read_header(file: WeightFile) -> dict[str, ElementInfo]:
    """The tensors of one file, which counts as file number 0, all checked."""
    header_bytes = _header_bytes(file)
    raw = file.read(_LENGTH.size, header_bytes, "header")
    header = parse_object(raw, f"{file.path}: header")
    if not isinstance(header.pop("__metadata__", {}), dict):
        raise _bad(file, "header '__metadata__'", "is no JSON object")
    data_start = _LENGTH.size + header_bytes
    tensors = [_read_entry(file, name, entry, data_start) for name, entry in header.items()]
    _check_coverage(file, tensors, data_start)
    return {tensor.name: tensor for tensor in tensors}


def _header_bytes(file: WeightFile) -> int:
    if file.size < _LENGTH.size:
        raise _bad(file, "header length", f"needs 8 bytes, the file has {file.size}")
    length: int = _LENGTH.unpack(file.read(0, _LENGTH.size, "header length"))[0]
    if length > file.size - _LENGTH.size:
        raise _bad(file, "header length", f"is {length} bytes, the file has {file.size}")
    if length > MAX_HEADER_BYTES:
        raise _bad(file, "header length", f"is {length} bytes, at most {MAX_HEADER_BYTES}")
    return length


def _read_entry(file: WeightFile, name: str, entry: object, data_start: int) -> ElementInfo:
    """Check one entry of the header by itself."""
    field = f"tensor {quoted(name)}"
    if not isinstance(entry, dict) or entry.keys() != _ENTRY_KEYS:
        raise _bad(file, field, "is not described by just dtype, shape and data_offsets")
    dtype = str(entry["dtype"])
    if dtype not in BITS:
        raise UnsupportedModel(
            f"{file.path}: {field} has dtype {quoted(dtype)}, wazn reads {', '.join(BITS)}; choose "
            "a copy of this model in these"
        )
    shape = _integers(entry["shape"])
    if shape is None or len(shape) > MAX_DIMENSIONS or 0 in shape:
        raise _bad(
            file, field, f"has a shape that is not a list of up to {MAX_DIMENSIONS} positive sizes"
        )
    offsets = _integers(entry["data_offsets"])
    if offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _bad(file, field, "has data_offsets that are not a start and an end")
    start, end = offsets
    if data_start + end > file.size:
        raise _bad(file, field, f"ends at byte {data_start + end}, the file has {file.size}")
    num_bits = math.prod(shape) * BITS[dtype]
    num_bytes = num_bits // 8
    if num_bits % 8 or num_bytes != end - start:
        raise _bad(
            file, field, f"has {end - start} bytes, its shape {list(shape)} needs {num_bytes}"
        )
    return ElementInfo(name, shape, dtype, 0, data_start + start, num_bytes)


def _integers(value: Any) -> tuple[int, ...] | None:
    """A JSON list of integers from 0 to 2^63 - 1, or None if it is anything else."""
    if isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value):
        return tuple(value)
    return None


def _check_coverage(file: WeightFile, tensors: list[ElementInfo], data_start: int) -> None:
    """Check that the tensors cover the data from its start to the end of the file, once."""
    covered = data_start
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        if tensor.offset != covered:
            flaw = "overlaps the one before" if tensor.offset < covered else "follows a hole"
            raise _bad(
                file,
                f"tensor {quoted(tensor.name)}",
                f"begins at byte {tensor.offset} and {flaw}, which ends at {covered}",
            )
        covered = tensor.offset + tensor.nbytes
    if covered != file.size:
        raise _bad(file, "data", f"ends at byte {covered}, the file has {file.size}")


def _bad(file: WeightFile, field: str, fact: str) -> BadFile:
    return BadFile(f"{file.path}: {field} {fact}; the file is damaged, fetch it again")
