"""MXFP4: 4-bit floats (e2m1), two in a byte, with a power of two for each 32 columns.

gpt-oss keeps the experts of a layer in ``X_blocks`` (experts, rows, columns / 32, 16) and
``X_scales`` (experts, rows, columns / 32); gate and up are the even and the odd rows of one stack
and become two. DeepSeek V4 keeps ``weight`` (rows, columns / 2) and ``scale`` (rows, columns / 32).
In both a byte holds columns 2b, low, and 2b + 1; blocks of Format.MXFP4 hold columns b and b + 16.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wazn.errors import BadFile
from wazn.weights.elements import ElementInfo, Elements
from wazn.weights.formats import Format
from wazn.weights.quantised.made import Maker, Raw
from wazn.weights.quantised.parts import Parts, modules_with
from wazn.weights.quantised.settings import REMEDY, QuantisedSettings
from wazn.weights.quoting import quoted

_BYTES = ("U8", "I8", "F4")


@dataclass(frozen=True, slots=True)
class Pick:
    """Every ``step``-th row from ``first``."""

    first: int = 0
    step: int = 1


_STACKS = {
    "gate_up_proj": {"gate_proj": Pick(0, 2), "up_proj": Pick(1, 2)},
    "down_proj": {"down_proj": Pick()},
}


class MXFP4Matrix(Maker):
    """A matrix or a stack of them, some of the rows of ``codes``; 16 bytes for 32 columns."""

    format = Format.MXFP4

    def __init__(
        self,
        elements: Elements,
        name: str,
        sources: tuple[str, str],
        shape: tuple[int, ...],
        pick: Pick,
    ) -> None:
        """``shape`` is that of all rows, which ``pick`` chooses from."""
        self._elements, self.name, self.sources, self._pick = elements, name, sources, pick
        *counts, rows, columns = shape
        self.shape = (*counts, rows // pick.step, columns)

    def read(self, start: int, stop: int) -> Raw:
        rows, blocks = stop - start, self.shape[-1] // 32
        packed = self._rows(0, start, stop).reshape(rows, blocks, 16)
        codes = np.stack([packed & np.uint8(15), packed >> np.uint8(4)], axis=-1)
        halves = codes.reshape(rows, blocks, 2, 16)
        raw = np.empty((rows, blocks), self.format.layout)
        raw["quants"] = halves[:, :, 0] | (halves[:, :, 1] << np.uint8(4))
        raw["exponent"] = self._rows(1, start, stop)
        return raw.view(np.uint8).reshape(rows, blocks * self.format.block_bytes)

    def _rows(self, source: int, start: int, stop: int) -> Raw:
        """Bytes of the chosen rows."""
        name, step = self.sources[source], self._pick.step
        per_row = self._elements[name].nbytes // (math.prod(self.shape[:-1]) * step)
        raw = self._elements.bytes_of(name, start * step * per_row, stop * step * per_row)
        return raw.reshape(-1, per_row)[self._pick.first :: step]


def find(elements: Elements, settings: QuantisedSettings) -> Iterator[Maker]:
    """The matrices of 4-bit floats, in either way of keeping them."""
    for name in elements.infos:
        if name.endswith("_blocks"):
            yield from _stacks(elements, settings, name.removesuffix("_blocks"))
    for parts in modules_with(settings, elements, "scale"):
        if parts.info("scale").dtype == "F8_E8M0" and parts.has("weight"):
            info = parts.info("weight")
            if info.dtype in _BYTES:
                yield _matrix(parts, info)


def _stacks(elements: Elements, settings: QuantisedSettings, stem: str) -> Iterator[Maker]:
    experts, _, which = stem.rpartition(".")
    blocks, scales = elements[f"{stem}_blocks"], elements[f"{stem}_scales"]
    is_block = len(blocks.shape) == 4 and blocks.shape[3] == 16 and blocks.dtype == "U8"
    if not is_block or scales.shape != blocks.shape[:3] or scales.dtype != "U8":
        raise _wrong(settings.where, blocks, scales)
    count, rows, groups, _ = blocks.shape
    picks = _STACKS.get(which, {which: Pick()})
    if rows % len(picks):
        raise _wrong(settings.where, blocks, scales)
    for part, pick in picks.items():
        sources = blocks.name, scales.name
        shape = count, rows, groups * 32
        yield MXFP4Matrix(elements, f"{experts}.{part}.weight", sources, shape, pick)


def _matrix(parts: Parts, info: ElementInfo) -> Maker:
    scale = parts.info("scale")
    per_row = info.nbytes // info.shape[0]
    if len(info.shape) != 2 or scale.shape != (info.shape[0], per_row // 16) or per_row % 16:
        raise _wrong(parts.where, info, scale)
    shape = info.shape[0], per_row * 2
    return MXFP4Matrix(parts.elements, parts.name, (info.name, scale.name), shape, Pick())


def _wrong(where: str, codes: ElementInfo, scales: ElementInfo) -> BadFile:
    return BadFile(
        f"{where}: tensors {quoted(codes.name)} {codes.dtype} {list(codes.shape)} and "
        f"{quoted(scales.name)} {scales.dtype} {list(scales.shape)} do not fit as 4-bit floats "
        f"with a scale for each 32; the file is damaged or badly converted; {REMEDY}"
    )
