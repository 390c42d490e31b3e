"""Matrices of 8-bit floats (e4m3) with scales of blocks, rows or the whole matrix.

value = code * scale in float32; the scale is called ``weight_scale_inv`` and multiplies all the
same, ``weight_scale`` or ``scale``. There are no integer codes to keep. A product with a power of
two has the four significant bits of e4m3 and any exponent: bfloat16 holds it exactly. One with
another scale has up to 28 bits, which no 16-bit type holds; float16 rounds it at the eleventh,
bfloat16 at the eighth, and the exponents of trained weights suit both, so it becomes float16, and
what that costs is measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.weights.elements import Elements, to_float32
from wazn.weights.formats import Format
from wazn.weights.quantised.made import Maker, Raw
from wazn.weights.quantised.parts import Parts, modules_with
from wazn.weights.quantised.settings import REMEDY, QuantisedSettings, refuse, refuse_codes
from wazn.weights.quoting import quoted

_SCALES = ("weight_scale_inv", "weight_scale", "scale")
_SCALE_TYPES = ("F32", "BF16", "F16", "F8_E8M0")


def e4m3_values() -> NDArray[np.float32]:
    """The 256 values of e4m3fn: bias 7, no infinity, 0x7F and 0xFF NaN (OCP FP8, 2023)."""
    codes = np.arange(256)
    exponents, mantissas = (codes >> 3) & 15, codes & 7
    normal = np.ldexp(1 + mantissas / 8, exponents - 7)
    values = np.where(exponents == 0, np.ldexp(mantissas / 8, -6), normal)
    values[codes & 127 == 127] = np.nan
    return np.where(codes > 127, -values, values).astype(np.float32)


_VALUES = e4m3_values()


class Float8Matrix(Maker):
    """A matrix (rows, columns), or a stack of them (count, rows, columns)."""

    def __init__(self, parts: Parts, settings: QuantisedSettings, scale: str) -> None:
        self.parts, self.name, self.scale = parts, parts.name, scale
        self.shape = parts.info("weight").shape
        self.sources = (parts.full("weight"), parts.full(scale))
        info = parts.info(scale)
        if info.dtype not in _SCALE_TYPES:
            raise refuse(parts.where, quoted(info.name), f"has scales of type {info.dtype}")
        self.grid, self.block = _grid(parts, scale, self.shape, _block_size(settings))
        is_power = info.dtype == "F8_E8M0" or settings.values.get("scale_fmt") == "ue8m0"
        self.format = Format.BF16 if is_power else Format.F16
        if settings.as_floats:
            self.format = Format.F32
        self.loss = settings.loss

    def read(self, start: int, stop: int) -> Raw:
        codes = self.parts.elements.rows(self.parts.full("weight"), start, stop)
        info = self.parts.info(self.scale)
        scales = to_float32(self.parts.elements.whole(info.name), info.dtype)
        assert scales is not None  # its type was checked
        count, rows = self.grid[0] // math.prod(self.shape[:-2]), self.shape[-2]
        places = np.arange(start, stop)
        places = places // rows * count + places % rows // self.block[0]
        wide = np.repeat(scales.reshape(self.grid)[places], self.block[1], axis=1)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later
            values = _VALUES[codes] * wide[:, : self.shape[-1]]
        return self._encoded(values)

    def _encoded(self, values: NDArray[np.float32]) -> Raw:
        if self.format is Format.F32:
            return values.view(np.uint8)
        if self.format is Format.BF16:
            kept = to_bf16(values)
            floats = (kept.astype(np.uint32) << np.uint32(16)).view(np.float32)
        else:
            with np.errstate(over="ignore"):
                kept = values.astype("<f2")
            floats = kept.astype(np.float32)
            if np.any(np.isinf(floats) & np.isfinite(values)):
                raise refuse_codes(
                    self.parts.where,
                    quoted(self.name),
                    "has weights beyond 65504, which float16 does not hold",
                )
        if np.isfinite(values).all():  # if not, the check of the packed values says where
            self.loss.add(self.format.name, values, floats)
        return kept.view(np.uint8)


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.generic]:
    """The bits of bfloat16, rounded to nearest even; finite values only stay finite."""
    bits = values.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(values), np.uint32(0x7FC0), rounded).astype("<u2")


def _block_size(settings: QuantisedSettings) -> tuple[int, int]:
    """Rows and columns that share a scale, where scales are those of blocks."""
    value = settings.values.get("weight_block_size") or _block_structure(settings) or [128, 128]
    sizes = list(value) if isinstance(value, list | tuple) else []
    if len(sizes) != 2 or not all(type(size) is int and 0 < size <= 1 << 24 for size in sizes):
        raise BadFile(
            f"{settings.where}: quantization_config.weight_block_size is {str(value)[:60]!r}, not "
            "two sizes"
        )
    return sizes[0], sizes[1]


def _block_structure(settings: QuantisedSettings) -> object:
    """The same in a configuration of compressed-tensors; the first one that is stated."""
    groups = settings.values.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping) and weights.get("block_structure"):
            return weights["block_structure"]
    return None


def _grid(
    parts: Parts, suffix: str, shape: tuple[int, ...], block: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The scales as (rows of blocks of all matrices, columns of blocks), and a block's size."""
    info = parts.info(suffix)
    if len(shape) not in (2, 3):
        raise refuse(parts.where, quoted(parts.name), f"has {len(shape)} dimensions")
    *counts, rows, columns = shape
    count = math.prod(counts)
    block = min(block[0], rows), min(block[1], columns)
    by_block = -(-rows // block[0]), -(-columns // block[1])
    if info.shape == (*counts, *by_block):
        return (count * by_block[0], by_block[1]), block
    if info.shape in ((*counts, rows), (*counts, rows, 1)):
        return (count * rows, 1), (1, columns)
    if count == 1 and math.prod(info.shape) == 1:
        return (1, 1), (rows, columns)
    raise BadFile(
        f"{parts.where}: tensor {quoted(info.name)} has the shape {list(info.shape)}, which is not "
        f"one scale for each {block[0]}x{block[1]} block, row or matrix of {list(shape)}; {REMEDY}"
    )


def find(elements: Elements, settings: QuantisedSettings) -> Iterator[Maker]:
    """The matrices of 8-bit floats."""
    _block_size(settings)
    for parts in modules_with(settings, elements, "weight"):
        if parts.info("weight").dtype != "F8_E4M3":
            continue
        scale = next((suffix for suffix in _SCALES if parts.has(suffix)), None)
        if scale is None:
            raise BadFile(
                f"{parts.where}: tensor {quoted(parts.name)} is F8_E4M3 and has no scales; the "
                f"model is incomplete or badly converted; {REMEDY}"
            )
        yield Float8Matrix(parts, settings, scale)
