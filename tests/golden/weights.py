"""Weights that are a function of their name, so that none of them need to be stored.

Every number comes from a SplitMix64 counter seeded with the SHA-256 of the tensor's name, in
integer arithmetic up to one final multiplication: the same bits on every machine and with every
version of numpy. Knows nothing of files or models.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray

_NORMAL_STD = math.sqrt(4 * (2**32 - 1) / 12)  # of the sum of four independent uint16


def stream(name: str, count: int) -> NDArray[np.uint64]:
    """``count`` random 64-bit words for this name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    step = 0x9E3779B97F4A7C15
    words = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(step) + np.uint64(seed)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def normal(name: str, shape: Sequence[int], spread: float) -> NDArray[np.float32]:
    """Nearly normal numbers with mean 0 and standard deviation ``spread``, cut at 3.46 of them."""
    quarters = stream(name, math.prod(shape)).view(np.uint16).astype(np.int32)
    centred = quarters.reshape(-1, 4).sum(axis=1) - 2 * 65535
    factor = np.float32(spread / _NORMAL_STD)
    scaled: NDArray[np.float32] = centred.astype(np.float32) * factor
    return scaled.reshape(tuple(shape))


def token_ids(name: str, count: int, vocab_size: int) -> list[int]:
    """``count`` token ids below ``vocab_size``."""
    return [int(word) for word in stream(name, count) % np.uint64(vocab_size)]


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Where a format keeps its float16 scales, and what random codes amount to with scale 1."""

    scale: int  # byte offset of d in a block
    unit_std: float  # standard deviation of the weights when d is 1
    minimum: int | None = None  # byte offset of the second scale
    minimum_ratio: float = 0.0  # second scale / d that centres the weights on 0


_T = GGMLQuantizationType
_BLOCKS = {
    _T.Q4_0: _Blocks(0, 4.64),
    _T.Q4_1: _Blocks(0, 4.61, 2, -7.5),
    _T.Q5_0: _Blocks(0, 9.25),
    _T.Q5_1: _Blocks(0, 9.23, 2, -15.5),
    _T.Q8_0: _Blocks(0, 73.9),
    _T.Q2_K: _Blocks(80, 13.1, 82, 1.5),
    _T.Q3_K: _Blocks(108, 43.2),
    _T.Q4_K: _Blocks(0, 235.0, 2, 7.5),
    _T.Q5_K: _Blocks(0, 480.0, 2, 15.5),
    _T.Q6_K: _Blocks(208, 1365.0),
    _T.IQ4_NL: _Blocks(0, 69.3),
    _T.IQ4_XS: _Blocks(0, 1270.0),
}
_MXFP4_STD = 3.0  # of the FP4 codes, before the shared exponent


def quantised(
    name: str, shape: tuple[int, int], kind: GGMLQuantizationType, spread: float
) -> NDArray[np.uint8]:
    """Random blocks (rows, row bytes) of a GGUF format: every code and sub-scale occurs.

    The float16 scales vary between blocks by a factor of four; the weights have roughly the
    standard deviation ``spread``.
    """
    rows, columns = shape
    block_size, block_bytes = GGML_QUANT_SIZES[kind]
    if columns % block_size:
        raise ValueError(f"{name}: {columns} columns are no multiple of {block_size} ({kind.name})")
    count = rows * columns // block_size
    words = stream(f"{name}/{kind.name}", count * (-(-block_bytes // 8)))
    raw = words.view(np.uint8).reshape(count, -1)[:, :block_bytes].copy()
    jitter = stream(f"{name}/{kind.name}/scales", count) >> np.uint64(54)  # 0 … 1023
    if kind == _T.MXFP4:
        exponent = 126 + round(math.log2(spread / _MXFP4_STD))
        raw[:, 0] = exponent + (jitter % np.uint64(3)).astype(np.int64)
    else:
        layout = _BLOCKS[kind]
        scale = (0.4 + 1.2 * jitter.astype(np.float64) / 1024) * (spread / layout.unit_std)
        raw[:, layout.scale : layout.scale + 2] = _float16_bytes(scale)
        if layout.minimum is not None:
            minimum = scale * layout.minimum_ratio
            raw[:, layout.minimum : layout.minimum + 2] = _float16_bytes(minimum)
    return raw.reshape(rows, -1)


def _float16_bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return values.astype("<f2").view(np.uint8).reshape(-1, 2)
