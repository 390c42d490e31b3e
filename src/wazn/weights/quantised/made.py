"""A matrix made of several tensors, and a container that shows it in their place.

Nothing is read before its rows are wanted, and then only what these rows need. It refuses to know
the ways of quantising.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from wazn.weights.container import TensorInfo
from wazn.weights.formats import Format
from wazn.weights.safetensors import Safetensors

Raw = NDArray[np.uint8]


class Maker(ABC):
    """One matrix, or a stack of them: its name, shape (rows of a matrix before columns), format.

    ``sources`` are the tensors it is made of.
    """

    name: str
    shape: tuple[int, ...]
    format: Format
    sources: tuple[str, ...]

    @abstractmethod
    def read(self, start: int, stop: int) -> Raw:
        """Rows ``[start, stop)`` of the tensor viewed as 2-D, (rows, row bytes) in ``format``."""

    @property
    def info(self) -> TensorInfo:
        """The matrix as a container lists it; it has no single place in the files."""
        blocks = self.shape[-1] // self.format.block_size
        num_bytes = math.prod(self.shape[:-1]) * blocks * self.format.block_bytes
        return TensorInfo(self.name, self.shape, self.format, 0, 0, num_bytes)


class Made:
    """A container of safetensors, with quantised matrices in place of what they are made of."""

    def __init__(self, container: Safetensors, makers: Iterable[Maker]) -> None:
        self._container = container
        self._makers = {maker.name: maker for maker in makers}
        used = {source for maker in self._makers.values() for source in maker.sources}
        tensors = {name: info for name, info in container.tensors.items() if name not in used}
        tensors |= {name: maker.info for name, maker in self._makers.items()}
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(tensors)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the checkpoint."""
        return self._container.paths

    def read(self, name: str, start_row: int = 0, stop_row: int | None = None) -> Raw:
        """Rows ``(stop_row - start_row, row_bytes)`` of a tensor viewed as 2-D."""
        maker = self._makers.get(name)
        if maker is None:
            return self._container.read(name, start_row, stop_row)
        rows = self.tensors[name].rows
        stop_row = rows if stop_row is None else stop_row
        if not 0 <= start_row <= stop_row <= rows:
            raise ValueError(f"rows {start_row}:{stop_row} of {name}, which has {rows}")
        return maker.read(start_row, stop_row)

    def close(self) -> None:
        """Close the files."""
        self._container.close()
