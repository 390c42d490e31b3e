"""Integer codes with scales and zeros of groups of columns, as INT4 and INT8 blocks.

value = scale * (code - zero). Scales of 16 bits become float32, which holds them exactly, so the
blocks are worth what the checkpoint says, to the last bit: in float32, where a checkpoint's own
kernels may round each product to its 16-bit type once more. It refuses to know where codes come
from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.weights.formats import Format
from wazn.weights.quantised.settings import refuse
from wazn.weights.quoting import quoted

_FORMATS = {
    (4, 128): Format.INT4_128,
    (4, 32): Format.INT4,
    (8, 128): Format.INT8_128,
    (8, 32): Format.INT8,
}


@dataclass(frozen=True, slots=True)
class Coded:
    """Rows of a matrix: codes (rows, columns), scales and zeros (rows, groups).

    4-bit codes are 0 to 15, 8-bit ones -128 to 127; zeros count like codes.
    """

    codes: NDArray[np.integer]
    scales: NDArray[np.float32]
    zeros: NDArray[np.integer]


def block_format(bits: int, columns: int, group: int, where: str, name: str) -> Format:
    """The format for groups of ``group`` columns: the largest block that lies within one.

    Raises UnsupportedModel when blocks of 32 columns do not fit.
    """
    for span in (128, 32):
        if group % span == 0 and columns % span == 0:
            return _FORMATS[bits, span]
    raise refuse(
        where,
        quoted(name),
        f"has {columns} columns in groups of {group}, and only multiples of 32 can be packed",
    )


def num_groups(columns: int, groups: int, name: str) -> int:
    """Columns of a group; BadFile when the groups are not equal."""
    if groups < 1 or columns % groups:
        raise BadFile(
            f"{quoted(name)} has {columns} columns and scales for {groups} groups, which are not "
            "equal; the file is damaged or badly converted, use another copy"
        )
    return columns // groups


def encode(coded: Coded, format: Format, name: str) -> NDArray[np.uint8]:
    """Blocks of ``format``, (rows, row bytes)."""
    rows, columns = coded.codes.shape
    blocks = columns // format.block_size
    repeats = blocks // coded.scales.shape[1]
    raw = np.empty((rows, blocks), format.layout)
    limits = np.iinfo(format.layout["zero"])
    is_outside = (coded.zeros < limits.min) | (coded.zeros > limits.max)
    if is_outside.any():
        raise BadFile(
            f"{quoted(name)}: a zero point is {int(coded.zeros[is_outside][0])}, outside the codes "
            f"{limits.min} to {limits.max}; the file is damaged, use another copy"
        )
    raw["d"] = np.repeat(coded.scales, repeats, axis=1)
    raw["zero"] = np.repeat(coded.zeros, repeats, axis=1)
    size = format.block_size
    if format in (Format.INT4, Format.INT4_128):
        halves = coded.codes.astype(np.uint8).reshape(rows, blocks, size // 32, 2, 16)
        packed = halves[..., 0, :] | (halves[..., 1, :] << np.uint8(4))
        raw["quants"] = packed.reshape(rows, blocks, size // 2)
    else:
        raw["quants"] = coded.codes.reshape(rows, blocks, size)
    return raw.view(np.uint8).reshape(rows, blocks * format.block_bytes)


def unpacked(words: NDArray[np.generic], bits: int, axis: int) -> NDArray[np.uint8]:
    """The codes of 32-bit words along ``axis`` of a matrix, the lowest bits first."""
    number = 32 // bits
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    mask = np.uint32((1 << bits) - 1)
    unsigned = words.view("<u4")
    rows, columns = unsigned.shape
    if axis == 0:
        split = (unsigned[:, None, :] >> shifts[:, None]) & mask
        return split.astype(np.uint8).reshape(rows * number, columns)
    split = (unsigned[:, :, None] >> shifts) & mask
    return split.astype(np.uint8).reshape(rows, columns * number)
