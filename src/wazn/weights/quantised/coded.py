"""Matrices of integer codes, whatever their order of bits: what GPTQ, AWQ and others share.

With act-order (``desc_act``), the columns of a group do not lie side by side, and no block of
columns has one scale: such a matrix is refused, or dequantised where it is to be quantised anew.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from wazn.weights.formats import Format
from wazn.weights.quantised.integers import Coded, block_format, encode
from wazn.weights.quantised.made import Maker, Raw
from wazn.weights.quantised.parts import Parts
from wazn.weights.quantised.settings import QuantisedSettings, refuse_codes
from wazn.weights.quoting import quoted


class CodedMatrix(Maker):
    """A matrix (rows, columns) of ``bits``-bit codes with scales of ``group`` columns.

    ``order`` is the group of each column where they are not in order, else None.
    """

    def __init__(
        self,
        parts: Parts,
        settings: QuantisedSettings,
        shape: tuple[int, int],
        coding: tuple[int, int],
        order: NDArray[np.int64] | None = None,
    ) -> None:
        """``coding``: bits, and columns of a group. Raises UnsupportedModel."""
        self.parts, self.name, self.shape = parts, parts.name, shape
        self.bits, self.group = coding
        self.order = order
        if order is None:
            self.format = block_format(self.bits, shape[1], self.group, parts.where, self.name)
        elif settings.as_floats:
            self.format = Format.F32
        else:
            raise refuse_codes(
                parts.where,
                quoted(self.name),
                "was quantised with act-order: its columns are not in the order of their groups",
            )

    def read(self, start: int, stop: int) -> Raw:
        coded = self.coded(start, stop)
        if self.order is None:
            return encode(coded, self.format, self.name)
        differences = (coded.codes.astype(np.int32) - coded.zeros[:, self.order]).astype(np.float32)
        values = coded.scales[:, self.order] * differences
        return np.ascontiguousarray(values).view(np.uint8)

    @abstractmethod
    def coded(self, start: int, stop: int) -> Coded:
        """Rows ``[start, stop)``: codes, scales and zeros."""
