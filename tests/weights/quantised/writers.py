"""Writes matrices in the published ways of quantising, and says what each weight is worth.

From the writer's side, bit by bit in plain loops, from the formats' own descriptions; no code is
shared with the readers under test. Each writer draws codes, scales and zeros, and returns the
tensors of one matrix with the float32 values that the format's formula gives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.weights.build import described, safetensors

Floats = NDArray[np.float32]
Typed = tuple[str, NDArray[np.generic]]
"""A safetensors dtype and the array to write as it is."""

SCALES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4"}
E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # which of eight rows each nibble of a word holds


@dataclass
class Written:
    """The tensors of one module by suffix, and its weights (rows, columns)."""

    tensors: dict[str, Typed]
    values: Floats

    def named(self, module: str) -> dict[str, Typed]:
        return {f"{module}.{suffix}": typed for suffix, typed in self.tensors.items()}


def write(path: Path, tensors: dict[str, Typed]) -> Path:
    """A safetensors file. Bytes of 4-bit floats are described by twice as many columns."""
    header, data = {}, b""
    for name, (dtype, array) in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        shape = list(array.shape)
        if dtype == "F4":
            shape[-1] *= 2
        header[name] = described(dtype, shape, len(data), len(data) + len(raw))
        data += raw
    path.write_bytes(safetensors(header, data))
    return path


def drawn_scales(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str
) -> tuple[Typed, Floats]:
    """Scales of ordinary size as they are stored, and as float32."""
    floats = rng.uniform(0.001, 0.02, shape).astype(np.float32)
    if dtype == "BF16":
        bits = (floats.view(np.uint32) >> 16).astype("<u2")
        return (dtype, bits), (bits.astype(np.uint32) << 16).view(np.float32)
    stored = floats.astype(SCALES[dtype])
    return (dtype, stored), stored.astype(np.float32)


def _words(codes: NDArray[np.integer], bits: int, order: list[int]) -> NDArray[np.int32]:
    """Packs the last axis; nibble i of a word holds code ``order[i]`` of its run."""
    number = 32 // bits
    *front, length = codes.shape
    words = np.zeros((*front, -(-length // number)), np.uint32)
    for index in np.ndindex(*front, length):
        *rest, place = index
        word, inside = divmod(place, number)
        shift = bits * order.index(inside)
        words[(*rest, word)] |= np.uint32(int(codes[index]) << shift)
    return words.view(np.int32)


def packed(codes: NDArray[np.integer], bits: int, order: list[int] | None = None) -> Typed:
    return "I32", _words(codes, bits, order or list(range(32 // bits)))


def worth(
    codes: NDArray[np.integer], scales: Floats, zeros: NDArray[np.integer], groups: list[int]
) -> Floats:
    """scale * (code - zero) in float32; codes (rows, columns), scales and zeros (rows, groups)."""
    values = np.empty(codes.shape, np.float32)
    for row, column in np.ndindex(*codes.shape):
        group = groups[column]
        difference = np.float32(int(codes[row, column]) - int(zeros[row, group]))
        values[row, column] = scales[row, group] * difference
    return values


@dataclass(frozen=True)
class Coding:
    """How a matrix of integers is to be drawn."""

    rows: int = 24
    columns: int = 256
    bits: int = 4
    group: int = 128
    scales: str = "F16"


def gptq(
    rng: np.random.Generator, coding: Coding, *, v2: bool = False, groups: list[int] | None = None
) -> Written:
    """qweight (packed columns, rows), qzeros (groups, packed rows), scales, g_idx."""
    count, top = coding.columns // coding.group, 1 << coding.bits
    codes = rng.integers(0, top, (coding.rows, coding.columns))
    zeros = rng.integers(1, top, (coding.rows, count))
    stored, scales = drawn_scales(rng, (count, coding.rows), coding.scales)
    in_order = [column // coding.group for column in range(coding.columns)]
    used = in_order if groups is None else groups
    kind, words = packed(codes, coding.bits)
    tensors = {
        "qweight": (kind, words.T),
        "qzeros": packed(zeros.T if v2 else zeros.T - 1, coding.bits),
        "scales": stored,
        "g_idx": ("I32", np.array(used, "<i4")),
    }
    return Written(tensors, worth(codes, scales.T, zeros, used))


def awq(rng: np.random.Generator, coding: Coding) -> Written:
    """qweight (columns, rows packed), qzeros (groups, rows packed), scales (groups, rows)."""
    count = coding.columns // coding.group
    codes = rng.integers(0, 16, (coding.rows, coding.columns))
    zeros = rng.integers(0, 16, (coding.rows, count))
    stored, scales = drawn_scales(rng, (count, coding.rows), coding.scales)
    tensors = {
        "qweight": packed(codes.T, 4, AWQ_ORDER),
        "qzeros": packed(zeros.T, 4, AWQ_ORDER),
        "scales": stored,
    }
    groups = [column // coding.group for column in range(coding.columns)]
    return Written(tensors, worth(codes, scales.T, zeros, groups))


def pack_quantized(
    rng: np.random.Generator, coding: Coding, *, symmetric: bool, groups: list[int] | None = None
) -> Written:
    """weight_packed (rows, packed columns) of signed codes plus half their range, and the rest."""
    half, count = 1 << (coding.bits - 1), coding.columns // coding.group
    codes = rng.integers(-half, half, (coding.rows, coding.columns))
    zeros = np.zeros((coding.rows, count), np.int64)
    stored, scales = drawn_scales(rng, (coding.rows, count), coding.scales)
    tensors = {
        "weight_packed": packed(codes + half, coding.bits),
        "weight_scale": stored,
        "weight_shape": ("I64", np.array([coding.rows, coding.columns], "<i8")),
    }
    if not symmetric:
        zeros = rng.integers(-half, half, zeros.shape)
        kind, words = packed(zeros.T + half, coding.bits)
        tensors["weight_zero_point"] = kind, words.T
    if groups is not None:
        tensors["weight_g_idx"] = "I32", np.array(groups, "<i4")
    used = groups or [column // coding.group for column in range(coding.columns)]
    return Written(tensors, worth(codes, scales, zeros, used))


def int_quantized(rng: np.random.Generator, coding: Coding, *, symmetric: bool) -> Written:
    """weight (rows, columns) of int8, weight_scale and weight_zero_point (rows, groups)."""
    count = coding.columns // coding.group
    codes = rng.integers(-128, 128, (coding.rows, coding.columns))
    zeros = np.zeros((coding.rows, count), np.int64)
    stored, scales = drawn_scales(rng, (coding.rows, count), coding.scales)
    tensors: dict[str, Typed] = {"weight": ("I8", codes.astype("i1")), "weight_scale": stored}
    if not symmetric:
        zeros = rng.integers(-128, 128, zeros.shape)
        tensors["weight_zero_point"] = "I8", zeros.astype("i1")
    groups = [column // coding.group for column in range(coding.columns)]
    return Written(tensors, worth(codes, scales, zeros, groups))


def e4m3(code: int) -> float:
    """One sign, four exponent and three mantissa bits; bias 7; 0x7F is NaN."""
    sign = -1.0 if code & 128 else 1.0
    exponent, mantissa = (code >> 3) & 15, code & 7
    if code & 127 == 127:
        return float("nan")
    if exponent == 0:
        return sign * mantissa * 2.0**-9
    return sign * (8 + mantissa) * 2.0 ** (exponent - 10)


def float8_values(
    codes: NDArray[np.integer], scales: Floats, block: tuple[int, int]
) -> NDArray[np.float32]:
    """code * scale in float32; codes (rows, columns), scales of blocks of both."""
    values = np.empty(codes.shape, np.float32)
    for row, column in np.ndindex(*codes.shape):
        scale = scales[row // block[0], column // block[1]]
        values[row, column] = np.float32(e4m3(int(codes[row, column]))) * scale
    return values


def float8_codes(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Every finite code."""
    codes = rng.integers(0, 256, shape).astype(np.uint8)
    codes[codes & 127 == 127] = 1
    return codes


def mxfp4_values(blocks: NDArray[np.uint8], scales: NDArray[np.uint8]) -> Floats:
    """Weights (…, groups * 32): bytes hold elements 2b and 2b + 1; scale 2^(byte - 127)."""
    *front, groups, _ = blocks.shape
    values = np.empty((*front, groups * 32), np.float32)
    for index in np.ndindex(*front, groups, 16):
        *rest, group, byte = index
        pair = int(blocks[index])
        for place, code in enumerate((pair & 15, pair >> 4)):
            magnitude = E2M1[code & 7] * 2.0 ** (int(scales[(*rest, group)]) - 127)
            column = 32 * group + 2 * byte + place
            values[(*rest, column)] = -magnitude if code & 8 else magnitude
    return values
