"""The tensors that belong to one matrix, checked against each other before any is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.weights.elements import ElementInfo, Elements, to_float32
from wazn.weights.quantised.settings import REMEDY, QuantisedSettings, refuse
from wazn.weights.quoting import quoted


@dataclass(frozen=True, slots=True)
class Parts:
    """The tensors of ``module``, by suffix: ``module + ".scales"`` and so on."""

    elements: Elements
    module: str
    where: str

    @property
    def name(self) -> str:
        """The name of the matrix."""
        return f"{self.module}.weight"

    def full(self, suffix: str) -> str:
        return f"{self.module}.{suffix}"

    def has(self, suffix: str) -> bool:
        return self.full(suffix) in self.elements

    def info(self, suffix: str) -> ElementInfo:
        """Raises BadFile when the tensor is missing."""
        return self.elements[self.full(suffix)]

    def expect(self, suffix: str, shape: tuple[int, ...], dtypes: tuple[str, ...]) -> str:
        """The full name of a tensor; BadFile when its shape or type is not what it must be."""
        info = self.info(suffix)
        if info.shape != shape or info.dtype not in dtypes:
            raise BadFile(
                f"{self.where}: tensor {quoted(info.name)} is {info.dtype} {list(info.shape)}, "
                f"where {self.module} needs {' or '.join(dtypes)} {list(shape)}; the file is "
                f"damaged or badly converted; {REMEDY}"
            )
        return info.name

    def matrix(self, suffix: str, dtypes: tuple[str, ...]) -> tuple[int, int]:
        """The two sizes of a matrix; BadFile when it is none or of another type."""
        info = self.info(suffix)
        if len(info.shape) != 2:
            raise refuse(
                self.where,
                quoted(info.name),
                f"has {len(info.shape)} dimensions, and only 2 can be read",
            )
        self.expect(suffix, info.shape, dtypes)
        return info.shape[0], info.shape[1]

    def floats(self, suffix: str, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """Values of the tensor as float32."""
        info = self.info(suffix)
        floats = to_float32(values, info.dtype)
        if floats is None:
            raise refuse(self.where, quoted(info.name), f"has scales of type {info.dtype}")
        return floats

    def order(self, suffix: str, columns: int, group: int) -> NDArray[np.int64] | None:
        """The group of each column, where that is not simply column // group; else None."""
        if not self.has(suffix):
            return None
        name = self.expect(suffix, (columns,), ("I32", "I64"))
        groups = self.elements.whole(name).astype(np.int64)
        if groups.min() < 0 or groups.max() >= columns // group:
            raise BadFile(
                f"{self.where}: tensor {quoted(name)} names group {int(groups.max())} of "
                f"{columns // group}; the file is damaged, use another copy"
            )
        return None if np.array_equal(groups, np.arange(columns) // group) else groups


def modules_with(settings: QuantisedSettings, elements: Elements, suffix: str) -> Iterator[Parts]:
    """The modules that have a tensor with this suffix, in the order of the file."""
    ending = f".{suffix}"
    for name in elements.infos:
        if name.endswith(ending):
            yield Parts(elements, name.removesuffix(ending), settings.where)
