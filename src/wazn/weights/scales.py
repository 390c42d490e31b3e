"""The check that a tensor's scales, minima and float elements are finite numbers.

One NaN or infinite scale turns every answer of a model into nonsense, so packing refuses it and
names the place. Only the bytes of the scales are looked at, never the packed integers.
It refuses to know where the bytes come from.
"""

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.weights.formats import Blocks, Format, as_blocks
from wazn.weights.quoting import quoted

_EXPONENT_MASKS = {"<f2": 0x7C00, "<f4": 0x7F800000}


def check_scales(raw: NDArray[np.uint8], format: Format, name: str, first_row: int = 0) -> None:
    """Raise BadFile when ``raw``, (rows, row_bytes) uint8 of tensor ``name``, is not finite.

    The message names the tensor, the row (counted from ``first_row``) and the block or column.
    """
    if not raw.size:
        return
    blocks = as_blocks(raw, format)
    for field in format.layout.names or ():
        bits, mask = _exponent_bits(blocks, format, field)
        if mask and np.any(broken := (bits & mask) == mask):
            row, block = divmod(int(broken.argmax()), raw.shape[-1] // format.block_bytes)
            what = "element" if format.block_size == 1 else f"scale {field!r} of block"
            raise BadFile(
                f"tensor {quoted(name)} row {first_row + row}: {what} {block} is NaN or infinite "
                f"(bits {int(bits[broken.argmax()]):#x}, {format.name}); the file is damaged or "
                "badly converted, use another copy"
            )


def _exponent_bits(
    blocks: Blocks, format: Format, field: str
) -> tuple[NDArray[np.unsignedinteger], int]:
    """A field as unsigned integers (blocks,), and the bits that are all set when not finite.

    The mask is 0 for fields that hold packed integers.
    """
    dtype = format.layout[field]
    if format is Format.BF16:
        return blocks[field], 0x7F80
    if format is Format.MXFP4 and field == "exponent":
        return blocks[field], 0xFF
    mask = _EXPONENT_MASKS.get(dtype.str, 0)
    return blocks[field].view(f"<u{dtype.itemsize}") if mask else blocks[field], mask
