"""GPTQ: ``qweight`` with the codes of a column of inputs in words, ``qzeros``, ``scales``.

A word of qweight (columns * bits / 32, rows) holds successive input columns of one output row, the
lowest bits first; one of qzeros (groups, rows * bits / 32) successive rows. Zeros are stored less
one, unless ``checkpoint_format`` is gptq_v2. ``g_idx`` is the group of each column. As in AutoGPTQ
(Frantar et al. 2022 describe the method).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wazn.errors import BadFile
from wazn.weights.elements import Elements
from wazn.weights.quantised.coded import CodedMatrix
from wazn.weights.quantised.integers import Coded, num_groups, unpacked
from wazn.weights.quantised.made import Maker
from wazn.weights.quantised.parts import Parts, modules_with
from wazn.weights.quantised.settings import QuantisedSettings


class GPTQMatrix(CodedMatrix):
    """One matrix; codes are 4 or 8 bits wide."""

    def __init__(self, parts: Parts, settings: QuantisedSettings, bits: int) -> None:
        number = 32 // bits
        words, rows = parts.matrix("qweight", ("I32", "U32"))
        groups = parts.matrix("scales", ("F16", "BF16", "F32"))[0]
        columns = words * number
        group = num_groups(columns, groups, parts.name)
        parts.expect("scales", (groups, rows), (parts.info("scales").dtype,))
        parts.expect("qzeros", (groups, -(-rows // number)), ("I32", "U32"))
        self.sources = tuple(
            parts.full(suffix)
            for suffix in ("qweight", "qzeros", "scales", "g_idx")
            if parts.has(suffix)
        )
        self.added = 0 if settings.choice(*_CHECKPOINTS) == "gptq_v2" else 1
        order = parts.order("g_idx", columns, group)
        super().__init__(parts, settings, (rows, columns), (bits, group), order)

    def coded(self, start: int, stop: int) -> Coded:
        elements, number = self.parts.elements, 32 // self.bits
        words = elements.columns(self.parts.full("qweight"), start, stop)
        codes = unpacked(words, self.bits, axis=0).T
        first = start // number
        packed = elements.columns(self.parts.full("qzeros"), first, -(-stop // number))
        zeros = unpacked(packed, self.bits, axis=1)[:, start - first * number :]
        scales = elements.columns(self.parts.full("scales"), start, stop)
        offset = 128 if self.bits == 8 else 0  # 8-bit codes are packed as signed ones
        return Coded(
            codes.astype(np.int16) - offset,
            self.parts.floats("scales", scales).T,
            zeros[:, : stop - start].T.astype(np.int16) + self.added - offset,
        )


_CHECKPOINTS = ("checkpoint_format", ("gptq", "gptq_v2"), "gptq")


def find(elements: Elements, settings: QuantisedSettings) -> Iterator[Maker]:
    """The matrices of a GPTQ checkpoint."""
    bits = settings.choice("bits", (4, 8), None)
    settings.choice(*_CHECKPOINTS)
    settings.choice("pack_dtype", ("int32",), "int32")
    found = False
    for parts in modules_with(settings, elements, "qweight"):
        found = True
        yield GPTQMatrix(parts, settings, bits)
    if not found:
        raise BadFile(
            f"{settings.where}: says the model is quantised with GPTQ, and no tensor is; the files "
            "are not those of this configuration"
        )
