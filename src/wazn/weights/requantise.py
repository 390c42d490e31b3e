"""Matrices of floats rounded to 8 or 4 bits on their way into the packed file, by choice.

8 bits are Q8_0. 4 bits are Q4_K, or Q4_1 where rows are no multiple of 256 columns: both have a
scale and a minimum for each 32 weights, fitted to them by least squares. What the rounding costs
is added up (see ``loss``). It refuses to know which matrices deserve which format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from wazn.weights.choice import Weights
from wazn.weights.container import Container, TensorInfo
from wazn.weights.formats import Format, dequantize
from wazn.weights.loss import Loss
from wazn.weights.scales import check_scales

Floats = NDArray[np.float32]
Raw = NDArray[np.uint8]
FLOATS = (Format.F32, Format.F16, Format.BF16)
_REFITS = 2  # of scale and minimum to the codes; a third gains less than 1% of the error


def target_format(weights: Weights, columns: int) -> Format | None:
    """What rows of ``columns`` floats become; None where they cannot be divided into blocks."""
    if weights == "q8" and columns % 32 == 0:
        return Format.Q8_0
    if weights == "q4" and columns % 32 == 0:
        return Format.Q4_K if columns % 256 == 0 else Format.Q4_1
    return None


class Requantised:
    """A container that shows some matrices of floats in a quantised format."""

    def __init__(self, container: Container, formats: Mapping[str, Format], loss: Loss) -> None:
        self._container, self._formats, self._loss = container, dict(formats), loss
        tensors = dict(container.tensors)
        for name, format in self._formats.items():
            tensors[name] = _as_format(tensors[name], format)
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(tensors)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the container."""
        return self._container.paths

    def read(self, name: str, start_row: int = 0, stop_row: int | None = None) -> Raw:
        """Packed rows ``(stop_row - start_row, row_bytes)`` of a tensor viewed as 2-D."""
        raw = self._container.read(name, start_row, stop_row)
        format = self._formats.get(name)
        if format is None:
            return raw
        source = self._container.tensors[name].format
        check_scales(raw, source, name, start_row)
        values = dequantize(raw, source)
        quantised = quantise(values, format)
        self._loss.add(format.name, values, dequantize(quantised, format))
        return quantised

    def close(self) -> None:
        """Close the files."""
        self._container.close()


def _as_format(info: TensorInfo, format: Format) -> TensorInfo:
    row_bytes = info.columns // format.block_size * format.block_bytes
    return replace(info, format=format, nbytes=info.rows * row_bytes)


def quantise(values: Floats, format: Format) -> Raw:
    """Finite rows (rows, columns) as blocks of Q8_0, Q4_1 or Q4_K, (rows, row bytes)."""
    raw = _QUANTISERS[format](values.reshape(len(values), -1, format.block_size))
    return raw.view(np.uint8).reshape(len(values), -1)


def _q8_0(blocks: Floats) -> NDArray[np.void]:
    raw = np.empty(blocks.shape[:2], Format.Q8_0.layout)
    raw["d"] = np.abs(blocks).max(axis=2) / np.float32(127)
    scales = raw["d"].astype(np.float32)[..., np.newaxis]
    raw["quants"] = np.clip(_divided(blocks, scales), -127, 127)
    return raw


def _q4_1(blocks: Floats) -> NDArray[np.void]:
    scales, lows = _fitted(blocks)
    raw = np.empty(blocks.shape[:2], Format.Q4_1.layout)
    raw["d"], raw["m"] = scales, lows
    codes = _codes(blocks, raw["d"].astype(np.float32), raw["m"].astype(np.float32))
    raw["quants"] = codes[..., :16] | (codes[..., 16:] << np.uint8(4))
    return raw


def _q4_k(blocks: Floats) -> NDArray[np.void]:
    """Scales and minima of the eight sub-blocks are 6-bit multiples of the block's own two."""
    parts = blocks.reshape(*blocks.shape[:2], 8, 32)
    scales, lows = _fitted(parts)
    raw = np.empty(blocks.shape[:2], Format.Q4_K.layout)
    raw["d"] = scales.max(axis=2) / np.float32(63)
    raw["m"] = (-lows).max(axis=2) / np.float32(63)
    super_scales = raw["d"].astype(np.float32)[..., np.newaxis]
    super_minima = raw["m"].astype(np.float32)[..., np.newaxis]
    steps = np.clip(_divided(scales, super_scales), 0, 63).astype(np.uint8)
    minima = np.clip(_divided(-lows, super_minima), 0, 63).astype(np.uint8)
    codes = _codes(parts, super_scales * steps, -(super_minima * minima))
    pairs = codes.reshape(*blocks.shape[:2], 4, 2, 32)
    quants = pairs[..., 0, :] | (pairs[..., 1, :] << np.uint8(4))
    raw["quants"] = quants.reshape(*blocks.shape[:2], 128)
    raw["scales"] = _six_bits(steps, minima)
    return raw


def _six_bits(scales: NDArray[np.uint8], minima: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Eight 6-bit scales and minima each, in twelve bytes; how is said in ``formats``."""
    first, last = scales[..., :4], scales[..., 4:]
    low, high = minima[..., :4], minima[..., 4:]
    return np.concatenate(
        [
            first | (last >> np.uint8(4)) << np.uint8(6),
            low | (high >> np.uint8(4)) << np.uint8(6),
            (last & np.uint8(15)) | (high & np.uint8(15)) << np.uint8(4),
        ],
        axis=-1,
    )


def _fitted(groups: Floats) -> tuple[Floats, Floats]:
    """Scale and minimum of 4-bit codes for groups (…, 32): (…) each, minima at most 0.

    From the range of the weights; then, given the codes, the two that have the least squared error.
    """
    lows = np.minimum(groups.min(axis=-1), np.float32(0))
    scales = (groups.max(axis=-1) - lows) / np.float32(15)
    scales = np.maximum(scales, np.float32(0))
    size = np.float32(groups.shape[-1])
    sums = groups.sum(axis=-1)
    for _ in range(_REFITS):
        codes = _codes(groups, scales, lows).astype(np.float32)
        ones, squares = codes.sum(axis=-1), (codes * codes).sum(axis=-1)
        products = (codes * groups).sum(axis=-1)
        determinant = size * squares - ones * ones
        is_fit = determinant > 0
        divisor = np.where(is_fit, determinant, np.float32(1))
        fitted = (size * products - ones * sums) / divisor
        is_fit &= fitted > 0
        scales = np.where(is_fit, fitted, scales)
        lows = np.where(is_fit, np.minimum((sums - fitted * ones) / size, np.float32(0)), lows)
    return scales, lows


def _codes(groups: Floats, scales: Floats, lows: Floats) -> NDArray[np.uint8]:
    """The nearest codes, 0 to 15."""
    shifted = groups - lows[..., np.newaxis]
    return np.clip(_divided(shifted, scales[..., np.newaxis]), 0, 15).astype(np.uint8)


def _divided(values: Floats, by: Floats) -> Floats:
    """The nearest integers to the quotients; 0 where the divisor is."""
    divisor = np.where(by > 0, by, np.float32(1))
    return np.where(by > 0, np.rint(values / divisor), np.float32(0))


_QUANTISERS: Mapping[Format, Callable[[Floats], NDArray[np.void]]] = {
    Format.Q8_0: _q8_0,
    Format.Q4_1: _q4_1,
    Format.Q4_K: _q4_k,
}
