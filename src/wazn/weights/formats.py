"""The number formats of weights: how a block of them is laid out, and what its bits are worth.

``Format`` is the table: ggml type number, elements per block, byte layout. ``dequantize`` is the
NumPy reference of every format, bit for bit what the ``gguf`` package computes for those of GGUF,
which fixes the order of the float32 operations; kernels and packing are tested against it. The
last formats are wazn's own, for the integers of safetensors checkpoints (see ``integers``). It
refuses to know files, tensors and names, and passes NaN and infinite scales on (see ``scales``).
"""

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Blocks = NDArray[np.void]
"""Shape (blocks,), dtype ``Format.layout``."""


class Format(enum.Enum):
    """A number format; ``layout`` is one block as a little-endian structured dtype.

    Two- and four-byte floats in a layout are scales (``d``), minima (``m``) or the weights
    themselves (``value``); all other fields are packed integers. Numbers from ``OWN_TYPES`` on are
    not ggml's but wazn's own, and mean nothing in a file.
    """

    ggml_type: int
    block_size: int  # elements
    block_bytes: int
    layout: np.dtype[np.void]

    F32 = (0, 1, ("value", "<f4"))
    F16 = (1, 1, ("value", "<f2"))
    BF16 = (30, 1, ("value", "<u2"))
    Q4_0 = (2, 32, ("d", "<f2"), ("quants", "u1", 16))
    Q4_1 = (3, 32, ("d", "<f2"), ("m", "<f2"), ("quants", "u1", 16))
    Q5_0 = (6, 32, ("d", "<f2"), ("high", "u1", 4), ("quants", "u1", 16))
    Q5_1 = (7, 32, ("d", "<f2"), ("m", "<f2"), ("high", "u1", 4), ("quants", "u1", 16))
    Q8_0 = (8, 32, ("d", "<f2"), ("quants", "i1", 32))
    Q2_K = (10, 256, ("scales", "u1", 16), ("quants", "u1", 64), ("d", "<f2"), ("m", "<f2"))
    Q3_K = (11, 256, ("high", "u1", 32), ("quants", "u1", 64), ("scales", "u1", 12), ("d", "<f2"))
    Q4_K = (12, 256, ("d", "<f2"), ("m", "<f2"), ("scales", "u1", 12), ("quants", "u1", 128))
    Q5_K = (
        *(13, 256, ("d", "<f2"), ("m", "<f2"), ("scales", "u1", 12)),
        *(("high", "u1", 32), ("quants", "u1", 128)),
    )
    Q6_K = (14, 256, ("quants", "u1", 128), ("high", "u1", 64), ("scales", "i1", 16), ("d", "<f2"))
    IQ4_NL = (20, 32, ("d", "<f2"), ("quants", "u1", 16))
    IQ4_XS = (23, 256, ("d", "<f2"), ("high", "<u2"), ("scales", "u1", 4), ("quants", "u1", 128))
    MXFP4 = (39, 32, ("exponent", "u1"), ("quants", "u1", 16))
    INT4 = (1000, 32, ("d", "<f4"), ("zero", "u1"), ("quants", "u1", 16))
    INT4_128 = (1001, 128, ("d", "<f4"), ("zero", "u1"), ("quants", "u1", 64))
    INT8 = (1002, 32, ("d", "<f4"), ("zero", "i1"), ("quants", "i1", 32))
    INT8_128 = (1003, 128, ("d", "<f4"), ("zero", "i1"), ("quants", "i1", 128))

    def __init__(self, ggml_type: int, block_size: int, *fields: tuple[object, ...]) -> None:
        self.ggml_type = ggml_type
        self.block_size = block_size
        self.layout = np.dtype(list(fields))
        self.block_bytes = self.layout.itemsize


OWN_TYPES = 1000
GGML_FORMATS = tuple(format for format in Format if format.ggml_type < OWN_TYPES)
FORMAT_OF_GGML_TYPE = {format.ggml_type: format for format in GGML_FORMATS}

UNREADABLE_GGML_TYPES = {
    4: "Q4_2",
    5: "Q4_3",
    9: "Q8_1",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    21: "IQ3_S",
    22: "IQ2_S",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
    29: "IQ1_M",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    34: "TQ1_0",
    35: "TQ2_0",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
    40: "NVFP4",
    41: "Q1_0",
}
"""Names of the types that ggml defines and wazn cannot run: only for error messages."""

IQ4_CODEBOOK = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32
)
FP4_CODEBOOK = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)
"""The e2m1 values, doubled: MXFP4 block scales are halved to make up for it."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Blocks taken apart: value = scale * code (+ low), in groups of elements that share a scale.

    ``codes`` are integers of shape (blocks, groups, elements) in float32; scales and lows have the
    shape (blocks, groups, 1). Formats without minima have no lows. Formats with integer ``zeros``,
    of that shape, mean scale * (code - zero), rounded once; products take -(scale * zero) as low.
    Where groups are of 16, scale = super_scale * sub_scale, and products multiply by the latter, an
    integer, before they round; super-scales have the shape (blocks, 1, 1).
    """

    codes: Floats
    scales: Floats
    lows: Floats | None = None
    zeros: Floats | None = None
    super_scales: Floats | None = None
    sub_scales: Floats | None = None

    @property
    def values(self) -> Floats:
        """The weights, (blocks, groups, elements) float32."""
        if self.zeros is not None:
            return self.scales * (self.codes - self.zeros)
        values = self.scales * self.codes
        return values if self.lows is None else values + self.lows


def dequantize(raw: Bytes, format: Format) -> Floats:
    """Turn packed rows into float32: ``(..., row_bytes)`` uint8 → ``(..., columns)`` float32.

    Raises ValueError when ``row_bytes`` is not a whole number of blocks.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # infinite scales: inf · 0, inf - inf
        if format in _FLOATS:
            values = _FLOATS[format](as_blocks(raw, format)["value"])
        else:
            values = take_apart(raw, format).values
    columns = raw.shape[-1] // format.block_bytes * format.block_size
    return values.reshape(*raw.shape[:-1], columns)


def take_apart(raw: Bytes, format: Format) -> Parts:
    """The integers, scales and minima of quantised ``raw`` (..., row_bytes)."""
    return _QUANTISED[format](as_blocks(raw, format))


def as_blocks(raw: Bytes, format: Format) -> Blocks:
    """View ``(..., row_bytes)`` uint8 as ``(blocks,)`` of the format's layout."""
    if raw.shape[-1] % format.block_bytes:
        raise ValueError(f"{raw.shape[-1]} bytes are no whole number of {format.name} blocks")
    return np.ascontiguousarray(raw).reshape(-1).view(format.layout)


def _planes(packed: Bytes, bits: int, width: int) -> Bytes:
    """Unpack ``(blocks, bytes)`` into ``(blocks, planes, width)``, ``bits`` per value.

    ggml packs by planes: each run of ``width`` bytes holds first the lowest bits of all of its
    bytes, then the next higher ones, and so on.
    """
    num_blocks, num_bytes = packed.shape
    runs = packed.reshape(num_blocks, num_bytes // width, 1, width)
    shifts = np.arange(0, 8, bits, dtype=np.uint8).reshape(-1, 1)
    planes = (runs >> shifts) & np.uint8((1 << bits) - 1)
    return planes.reshape(num_blocks, num_bytes // width * (8 // bits), width)


def _column(field: NDArray[np.float16]) -> Floats:
    """One float16 per block, as float32 ``(blocks, 1, 1)``."""
    return field.astype(np.float32).reshape(-1, 1, 1)


def _nibbles(blocks: Blocks) -> Bytes:
    """The 4-bit quants of a 32-element block: ``(blocks, 1, 32)``."""
    return _planes(blocks["quants"], 4, 16).reshape(-1, 1, 32)


def _five_bits(blocks: Blocks) -> Bytes:
    """The 5-bit quants of a 32-element block, ``(blocks, 1, 32)``: nibbles, one high bit each."""
    high = np.unpackbits(blocks["high"], axis=1, bitorder="little").reshape(-1, 1, 32)
    return _nibbles(blocks) | (high << np.uint8(4))


def _float(values: NDArray[np.floating]) -> Floats:
    return values.astype(np.float32)


def _bf16(values: NDArray[np.uint16]) -> Floats:
    return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _q4_0(blocks: Blocks) -> Parts:
    return Parts(_nibbles(blocks).astype(np.float32) - 8, _column(blocks["d"]))


def _q4_1(blocks: Blocks) -> Parts:
    return Parts(_nibbles(blocks).astype(np.float32), _column(blocks["d"]), _column(blocks["m"]))


def _q5_0(blocks: Blocks) -> Parts:
    return Parts(_five_bits(blocks).astype(np.float32) - 16, _column(blocks["d"]))


def _q5_1(blocks: Blocks) -> Parts:
    return Parts(_five_bits(blocks).astype(np.float32), _column(blocks["d"]), _column(blocks["m"]))


def _q8_0(blocks: Blocks) -> Parts:
    return Parts(blocks["quants"].astype(np.float32).reshape(-1, 1, 32), _column(blocks["d"]))


def _iq4_nl(blocks: Blocks) -> Parts:
    return Parts(IQ4_CODEBOOK[_nibbles(blocks)], _column(blocks["d"]))


def _mxfp4(blocks: Blocks) -> Parts:
    exponent = blocks["exponent"].astype(np.uint32).reshape(-1, 1, 1)
    # Half of 2^(exponent - 127): below 2 the half is subnormal, which the exponent bits cannot say.
    subnormal = np.uint32(0x00200000) << np.minimum(exponent, 1)
    normal = (np.maximum(exponent, 1) - 1) << np.uint32(23)
    half_scale = np.where(exponent < 2, subnormal, normal).view(np.float32)
    return Parts(FP4_CODEBOOK[_nibbles(blocks)], half_scale)


def _scaled(d: NDArray[np.float16], scales: NDArray[np.number]) -> Floats:
    """Scales of the sub-blocks of a 256-element block, ``(blocks, sub-blocks, 1)``."""
    return _column(d) * scales.astype(np.float32)[:, :, np.newaxis]


def _in_sixteens(
    codes: Floats, d: NDArray[np.float16], scales: NDArray[np.number], lows: Floats | None = None
) -> Parts:
    """Codes ``(blocks, 16, 16)`` with their sub-scales ``(blocks, 16)``."""
    subs = scales.astype(np.float32)[:, :, np.newaxis]
    return Parts(codes, _scaled(d, scales), lows, super_scales=_column(d), sub_scales=subs)


def _q2_k(blocks: Blocks) -> Parts:
    quants = _planes(blocks["quants"], 2, 32).reshape(-1, 16, 16)
    lows = -_scaled(blocks["m"], blocks["scales"] >> 4)
    return _in_sixteens(quants.astype(np.float32), blocks["d"], blocks["scales"] & 15, lows)


def _q3_k(blocks: Blocks) -> Parts:
    # Scales: eight bytes of low nibbles by planes of 8, then the two high bits by planes of 4.
    low = _planes(blocks["scales"][:, :8], 4, 8).reshape(-1, 16)
    high = _planes(blocks["scales"][:, 8:], 2, 4).reshape(-1, 16)
    scales = (low | (high << np.uint8(4))).astype(np.float32) - 32
    # A clear high bit means four less; (blocks, 8, 32) from one run of eight planes.
    quants = _planes(blocks["quants"], 2, 32) | (_planes(blocks["high"], 1, 32) << np.uint8(2))
    codes = quants.astype(np.float32).reshape(-1, 16, 16) - 4
    return _in_sixteens(codes, blocks["d"], scales)


def _scales_and_minima(packed: Bytes) -> tuple[Bytes, Bytes]:
    """The eight 6-bit scales and minima of Q4_K and Q5_K, ``(blocks, 8)`` each, from 12 bytes.

    Bytes 0-3 and 4-7 hold the scales and minima 0-3 in their low six bits, bytes 8-11 the low
    nibbles of scales and minima 4-7, whose two high bits are on top of bytes 0-7.
    """
    first, second, rest = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([first & 63, (rest & 15) | ((first >> 2) & 48)], axis=1)
    minima = np.concatenate([second & 63, (rest >> 4) | ((second >> 2) & 48)], axis=1)
    return scales, minima


def _q4_k(blocks: Blocks) -> Parts:
    scales, minima = _scales_and_minima(blocks["scales"])
    quants = _planes(blocks["quants"], 4, 32)  # (blocks, 8, 32)
    return Parts(
        quants.astype(np.float32), _scaled(blocks["d"], scales), -_scaled(blocks["m"], minima)
    )


def _q5_k(blocks: Blocks) -> Parts:
    scales, minima = _scales_and_minima(blocks["scales"])
    high = _planes(blocks["high"], 1, 32)
    quants = _planes(blocks["quants"], 4, 32) | (high << np.uint8(4))  # (blocks, 8, 32)
    return Parts(
        quants.astype(np.float32), _scaled(blocks["d"], scales), -_scaled(blocks["m"], minima)
    )


def _q6_k(blocks: Blocks) -> Parts:
    low = _planes(blocks["quants"], 4, 64).reshape(-1, 16, 16)
    high = _planes(blocks["high"], 2, 32).reshape(-1, 16, 16)
    codes = (low | (high << np.uint8(4))).astype(np.float32) - 32
    return _in_sixteens(codes, blocks["d"], blocks["scales"])


def _iq4_xs(blocks: Blocks) -> Parts:
    low = np.stack([blocks["scales"] & 15, blocks["scales"] >> 4], axis=2).reshape(-1, 8)
    high = blocks["high"].reshape(-1, 1) >> np.arange(0, 16, 2, dtype=np.uint16)
    scales = (low | ((high & 3) << 4)).astype(np.float32) - 32
    quants = _planes(blocks["quants"], 4, 16).reshape(-1, 8, 32)
    return Parts(IQ4_CODEBOOK[quants], _scaled(blocks["d"], scales))


def _integers(codes: NDArray[np.integer], blocks: Blocks) -> Parts:
    """Integer codes of each block, in any shape, with the block's scale and zero.

    In groups of 32, as products take them, though a block may have more columns.
    """
    groups = math.prod(codes.shape[1:]) // 32
    scales = np.repeat(blocks["d"].reshape(-1, 1, 1), groups, axis=1)
    zeros = np.repeat(blocks["zero"].astype(np.float32).reshape(-1, 1, 1), groups, axis=1)
    floats = codes.astype(np.float32).reshape(len(blocks), groups, 32)
    return Parts(floats, scales, -(scales * zeros), zeros)


def _int4(blocks: Blocks) -> Parts:
    return _integers(_planes(blocks["quants"], 4, 16), blocks)


def _int8(blocks: Blocks) -> Parts:
    return _integers(blocks["quants"], blocks)


_FLOATS: dict[Format, Callable[[NDArray[Any]], Floats]] = {
    Format.F32: _float,
    Format.F16: _float,
    Format.BF16: _bf16,
}
_QUANTISED: dict[Format, Callable[[Blocks], Parts]] = {
    Format.Q4_0: _q4_0,
    Format.Q4_1: _q4_1,
    Format.Q5_0: _q5_0,
    Format.Q5_1: _q5_1,
    Format.Q8_0: _q8_0,
    Format.Q2_K: _q2_k,
    Format.Q3_K: _q3_k,
    Format.Q4_K: _q4_k,
    Format.Q5_K: _q5_k,
    Format.Q6_K: _q6_k,
    Format.IQ4_NL: _iq4_nl,
    Format.IQ4_XS: _iq4_xs,
    Format.MXFP4: _mxfp4,
    Format.INT4: _int4,
    Format.INT4_128: _int4,
    Format.INT8: _int8,
    Format.INT8_128: _int8,
}
