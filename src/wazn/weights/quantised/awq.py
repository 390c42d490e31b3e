"""AWQ: ``qweight`` with the 4-bit codes of eight output rows in a word, ``qzeros``, ``scales``.

A word of qweight (columns, rows / 8) holds eight successive rows of one input column, and one of
qzeros (groups, rows / 8) those of one group, both in the order 0 2 4 6 1 3 5 7 from the lowest
bits, as the kernels of AutoAWQ's version "gemm" unpack them (Lin et al. 2023 describe the method).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.weights.elements import Elements
from wazn.weights.quantised.coded import CodedMatrix
from wazn.weights.quantised.integers import Coded, num_groups, unpacked
from wazn.weights.quantised.made import Maker
from wazn.weights.quantised.parts import Parts, modules_with
from wazn.weights.quantised.settings import QuantisedSettings

_NIBBLE_OF_ROW = (0, 4, 1, 5, 2, 6, 3, 7)  # the inverse of the order above


class AWQMatrix(CodedMatrix):
    """One matrix."""

    def __init__(self, parts: Parts, settings: QuantisedSettings) -> None:
        columns, words = parts.matrix("qweight", ("I32", "U32"))
        groups = parts.matrix("scales", ("F16", "BF16", "F32"))[0]
        rows, group = words * 8, num_groups(columns, groups, parts.name)
        parts.expect("scales", (groups, rows), (parts.info("scales").dtype,))
        parts.expect("qzeros", (groups, words), ("I32", "U32"))
        self.sources = tuple(parts.full(suffix) for suffix in ("qweight", "qzeros", "scales"))
        super().__init__(parts, settings, (rows, columns), (4, group))

    def coded(self, start: int, stop: int) -> Coded:
        scales = self.parts.elements.columns(self.parts.full("scales"), start, stop)
        return Coded(
            self._rows("qweight", start, stop),
            self.parts.floats("scales", scales).T,
            self._rows("qzeros", start, stop),
        )

    def _rows(self, suffix: str, start: int, stop: int) -> NDArray[np.uint8]:
        """Codes of rows ``[start, stop)``, (rows, columns or groups)."""
        first = start // 8
        words = self.parts.elements.columns(self.parts.full(suffix), first, -(-stop // 8))
        nibbles = unpacked(words, 4, axis=1).reshape(len(words), -1, 8)
        codes = nibbles[:, :, _NIBBLE_OF_ROW].reshape(len(words), -1)
        return codes[:, start - 8 * first : stop - 8 * first].T


def find(elements: Elements, settings: QuantisedSettings) -> Iterator[Maker]:
    """The matrices of an AWQ checkpoint."""
    settings.choice("bits", (4,), 4)
    settings.choice("version", ("gemm", "GEMM"), "gemm")
    settings.choice("zero_point", (True,), True)
    found = False
    for parts in modules_with(settings, elements, "qweight"):
        found = True
        yield AWQMatrix(parts, settings)
    if not found:
        raise BadFile(
            f"{settings.where}: says the model is quantised with AWQ, and no tensor is; the files "
            "are not those of this configuration"
        )
