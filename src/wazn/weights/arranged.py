"""Tensors in the arrangement that a model's mathematics wants, where its files have another.

A checkpoint fuses projections that a model uses apart, row by row or head by head, or keeps a
matrix that is needed transposed. ``Arranged`` is a container with such tensors besides those it
wraps. Rows are taken as they are stored; only transposing takes number formats apart, and it
keeps values to the last bit. It refuses to know the names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.weights.container import Container, TensorInfo
from wazn.weights.formats import Format, dequantize
from wazn.weights.stacked import Piece

_SCALARS = {Format.F32: 4, Format.F16: 2, Format.BF16: 2}


@dataclass(frozen=True, slots=True)
class Rows:
    """Runs of rows, one below the other: a matrix, or a stack (``count``, rows, columns).

    Of a vector, a row is one element.
    """

    pieces: Sequence[Piece]
    count: int = 1


class Columns(NamedTuple):
    """Every ``step``-th column of ``start`` to ``stop``."""

    start: int = 0
    stop: int | None = None
    step: int = 1


ALL = Columns()


@dataclass(frozen=True, slots=True)
class Transposed:
    """A stack (pieces, columns, rows) of the transposes of equally many rows each, or of some of
    their columns."""

    pieces: Sequence[Piece]
    columns: Columns = ALL


@dataclass(frozen=True, slots=True)
class Flat:
    """The elements of a tensor of floats as one vector, or some columns of its rows."""

    name: str
    columns: Columns = ALL


@dataclass(frozen=True, slots=True)
class Beside:
    """Matrices with equally many rows, one beside the other."""

    names: Sequence[str]


Arrangement = Rows | Transposed | Flat | Beside


def runs(info: TensorInfo, heads: int, sizes: Sequence[int]) -> list[list[Piece]]:
    """The runs of rows of each part of every head, where a head has parts of these ``sizes``.

    Raises BadFile when the tensor has another number of rows.
    """
    width = sum(sizes)
    if not info.shape or info.shape[0] != heads * width:
        raise BadFile(
            f"tensor {info.name} has {info.shape[0] if info.shape else 1} rows where the model's "
            f"shape needs {heads * width}"
        )
    starts = [sum(sizes[:part]) for part in range(len(sizes))]
    return [
        [Piece(info.name, head * width + start, size) for head in range(heads)]
        for start, size in zip(starts, sizes, strict=True)
    ]


class Arranged:
    """A container with further tensors, arranged from those it has."""

    def __init__(self, container: Container, tensors: Mapping[str, Arrangement]) -> None:
        """Raises BadFile when pieces lie outside their tensor or do not fit one another."""
        self._container = container
        self._arrangements = dict(tensors)
        infos = dict(container.tensors)
        for name, arrangement in tensors.items():
            infos[name] = _info(name, arrangement, container.tensors)
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(infos)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the container."""
        return self._container.paths

    def read(self, name: str, start_row: int = 0, stop_row: int | None = None) -> NDArray[np.uint8]:
        """Packed rows ``(stop_row - start_row, row_bytes)`` of a tensor viewed as 2-D."""
        arrangement = self._arrangements.get(name)
        if arrangement is None:
            return self._container.read(name, start_row, stop_row)
        stop_row = self.tensors[name].rows if stop_row is None else stop_row
        match arrangement:
            case Beside(names):
                parts = [self._container.read(part, start_row, stop_row) for part in names]
                return np.concatenate(parts, axis=1)
            case Flat(source, columns):
                return self._flat(source, columns)
            case Rows(pieces) if len(self.tensors[name].shape) == 1:
                return self._rows(pieces, 0, self.tensors[name].columns).reshape(1, -1)
            case Rows(pieces):
                return self._rows(pieces, start_row, stop_row)
            case Transposed():
                return self._transposed(name, arrangement, start_row, stop_row)

    def close(self) -> None:
        """Close the files."""
        self._container.close()

    def _rows(self, pieces: Sequence[Piece], start: int, stop: int) -> NDArray[np.uint8]:
        parts, begin = [], 0
        for piece in pieces:
            first, last = max(start - begin, 0), min(stop - begin, piece.rows)
            if first < last:
                from_row = piece.start
                parts.append(self._read(piece.name, from_row + first, from_row + last))
            begin += piece.rows
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read(self, name: str, start: int, stop: int) -> NDArray[np.uint8]:
        source = self._container.tensors[name]
        if len(source.shape) > 1:
            return self._container.read(name, start, stop)
        elements = self._container.read(name).reshape(source.columns, -1)
        return elements[start:stop]

    def _flat(self, name: str, columns: Columns) -> NDArray[np.uint8]:
        source = self._container.tensors[name]
        raw = self._container.read(name).reshape(-1)
        values = raw.view(f"u{_SCALARS[source.format]}").reshape(source.rows, source.columns)
        return np.ascontiguousarray(values[:, slice(*columns)]).view(np.uint8).reshape(1, -1)

    def _transposed(
        self, name: str, arrangement: Transposed, start: int, stop: int
    ) -> NDArray[np.uint8]:
        columns = self.tensors[name].shape[1]
        parts = []
        for number in range(start // columns, -(-stop // columns)):
            piece = arrangement.pieces[number]
            raw = self._container.read(piece.name, piece.start, piece.start + piece.rows)
            source = self._container.tensors[piece.name].format
            size = _SCALARS.get(source)
            values = raw.view(f"u{size}") if size else dequantize(raw, source)
            first = max(start - number * columns, 0)
            last = min(stop - number * columns, columns)
            rows = np.ascontiguousarray(values.T[slice(*arrangement.columns)][first:last])
            parts.append(rows.view(np.uint8).reshape(last - first, -1))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _info(name: str, arrangement: Arrangement, sources: Mapping[str, TensorInfo]) -> TensorInfo:
    """What the arranged tensor is; its place in the files is that of the first piece."""
    if isinstance(arrangement, Flat):
        return _flat_info(name, arrangement, sources[arrangement.name])
    if isinstance(arrangement, Beside):
        return _beside(name, [sources[part] for part in arrangement.names])
    first = sources[arrangement.pieces[0].name]
    is_vector = len(first.shape) == 1
    for piece in arrangement.pieces:
        source = sources[piece.name]
        fits = is_vector or source.columns == first.columns
        if not fits or (len(source.shape) == 1) != is_vector or source.format != first.format:
            raise BadFile(
                f"tensors {source.name} and {first.name} differ in columns or number format"
            )
        if piece.start + piece.rows > _length(source):
            raise BadFile(
                f"tensor {source.name} has {_length(source)} rows where the model's shape needs "
                f"{piece.start + piece.rows}"
            )
    place = first.format, first.file, first.offset
    total = sum(piece.rows for piece in arrangement.pieces)
    if is_vector:
        if first.format not in _SCALARS or isinstance(arrangement, Transposed):
            raise BadFile(f"tensor {first.name} is a vector where a matrix is expected")
        return TensorInfo(name, (total,), *place, total * _SCALARS[first.format])
    if isinstance(arrangement, Rows):
        count = arrangement.count
        shape: tuple[int, ...] = (total, first.columns)
        shape = shape if count == 1 else (count, total // count, first.columns)
        return TensorInfo(name, shape, *place, total * first.row_bytes)
    format = first.format if first.format in _SCALARS else Format.F32
    columns = len(range(first.columns)[slice(*arrangement.columns)])
    shape = (len(arrangement.pieces), columns, arrangement.pieces[0].rows)
    size = total * columns * _SCALARS[format]
    return TensorInfo(name, shape, format, first.file, first.offset, size)


def _flat_info(name: str, arrangement: Flat, source: TensorInfo) -> TensorInfo:
    if source.format not in _SCALARS:
        raise BadFile(
            f"tensor {source.name} has the number format {source.format.name} where the model "
            "needs floats"
        )
    count = source.rows * len(range(source.columns)[slice(*arrangement.columns)])
    size = count * _SCALARS[source.format]
    return TensorInfo(name, (count,), source.format, source.file, source.offset, size)


def _beside(name: str, parts: Sequence[TensorInfo]) -> TensorInfo:
    first = parts[0]
    for part in parts:
        if len(part.shape) != 2 or (part.rows, part.format) != (first.rows, first.format):
            raise BadFile(
                f"tensors {part.name} and {first.name} are no matrices that differ in columns only"
            )
    shape = first.rows, sum(part.columns for part in parts)
    size = sum(part.nbytes for part in parts)
    return TensorInfo(name, shape, first.format, first.file, first.offset, size)


def _length(source: TensorInfo) -> int:
    """Rows of a matrix or elements of a vector."""
    return source.columns if len(source.shape) == 1 else source.rows
