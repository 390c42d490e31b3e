"""Tensors that a model wants as one and its files keep in pieces, or the other way round.

A checkpoint has one matrix per expert, or all of them stacked with gate above up; packing wants the
matrices of all experts as one tensor (experts, rows, columns). ``Stacked`` is a container that
shows them so, each made of equal runs of rows of the tensors it wraps. Nothing is copied before
it is read. It refuses to know the names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.weights.container import Container, TensorInfo


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows ``[start, start + rows)`` of a tensor viewed as 2-D."""

    name: str
    start: int
    rows: int


class Stacked:
    """A container with further tensors, made of pieces of those it has."""

    def __init__(self, container: Container, stacks: Mapping[str, Sequence[Piece]]) -> None:
        """Raises BadFile when the pieces of a stack differ in shape or number format."""
        self._container = container
        self._stacks = {name: tuple(pieces) for name, pieces in stacks.items()}
        tensors = dict(container.tensors)
        for name, pieces in self._stacks.items():
            tensors[name] = _joined(name, [container.tensors[p.name] for p in pieces], pieces)
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(tensors)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the container."""
        return self._container.paths

    def read(self, name: str, start_row: int = 0, stop_row: int | None = None) -> NDArray[np.uint8]:
        """Packed rows ``(stop_row - start_row, row_bytes)`` of a tensor viewed as 2-D."""
        pieces = self._stacks.get(name)
        if pieces is None:
            return self._container.read(name, start_row, stop_row)
        stop_row = self.tensors[name].rows if stop_row is None else stop_row
        rows, parts = pieces[0].rows, []
        for number in range(start_row // rows, -(-stop_row // rows)):
            piece, begin = pieces[number], number * rows
            first, last = max(start_row - begin, 0), min(stop_row - begin, rows)
            parts.append(self._container.read(piece.name, piece.start + first, piece.start + last))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def close(self) -> None:
        """Close the files."""
        self._container.close()


def _joined(name: str, sources: Sequence[TensorInfo], pieces: Sequence[Piece]) -> TensorInfo:
    """The stack (pieces, rows, columns); its place in the files is that of the first piece."""
    first, rows = sources[0], pieces[0].rows
    for source, piece in zip(sources, pieces, strict=True):
        if (source.columns, source.format, piece.rows) != (first.columns, first.format, rows):
            raise BadFile(
                f"tensor {source.name} differs from {first.name} in shape or number format; all "
                f"experts of {name} must have the same"
            )
    return TensorInfo(
        name,
        (len(pieces), rows, first.columns),
        first.format,
        first.file,
        first.offset,
        len(pieces) * rows * first.row_bytes,
    )
