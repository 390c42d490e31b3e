"""What a container of tensors offers, whichever file format is behind it.

``TensorInfo`` says where a tensor's bytes are; ``Container`` is the interface that model loading
relies on; ``FileContainer`` implements it over open weight files. It refuses to know headers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.weights.files import WeightFile
from wazn.weights.formats import Format
from wazn.weights.quoting import quoted


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor is: ``nbytes`` from ``offset`` of file number ``file``.

    ``shape`` has rows first (torch order), every dimension at least 1; ``()`` is a scalar.
    """

    name: str
    shape: tuple[int, ...]
    format: Format
    file: int
    offset: int
    nbytes: int

    @property
    def columns(self) -> int:
        """Elements of a row: the last dimension."""
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self) -> int:
        """Rows of the tensor viewed as 2-D: the product of all dimensions but the last."""
        return math.prod(self.shape[:-1])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.nbytes // self.rows


class Container(Protocol):
    """Tensors by name, read row by row."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in the order that ``TensorInfo.file`` counts them."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors by name, in file order."""

    def read(self, name: str, start_row: int = 0, stop_row: int | None = None) -> NDArray[np.uint8]:
        """Packed rows ``(stop_row - start_row, row_bytes)`` of a tensor viewed as 2-D."""

    def close(self) -> None:
        """Close the files."""


class FileContainer:
    """A container over open files, which it owns and closes."""

    def __init__(self, files: Sequence[WeightFile], tensors: Mapping[str, TensorInfo]) -> None:
        self._files = tuple(files)
        self.paths = tuple(file.path for file in files)
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(dict(tensors))

    def read(self, name: str, start_row: int = 0, stop_row: int | None = None) -> NDArray[np.uint8]:
        """Packed rows ``(stop_row - start_row, row_bytes)`` uint8 of a tensor viewed as 2-D.

        Raises BadFile when there is no such tensor or the file became shorter, ValueError when
        the rows are out of range.
        """
        tensor = self.tensors.get(name)
        if tensor is None:
            raise BadFile(
                f"{self.paths[0]}: no tensor named {quoted(name)}; the model is incomplete or "
                "of another architecture"
            )
        stop_row = tensor.rows if stop_row is None else stop_row
        if not 0 <= start_row <= stop_row <= tensor.rows:
            raise ValueError(f"rows {start_row}:{stop_row} of {name}, which has {tensor.rows}")
        rows = np.empty((stop_row - start_row, tensor.row_bytes), np.uint8)
        offset = tensor.offset + start_row * tensor.row_bytes
        self._files[tensor.file].read_into(rows, offset, f"tensor {quoted(name)}")
        return rows

    def close(self) -> None:
        """Close the files; closing twice is harmless."""
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
