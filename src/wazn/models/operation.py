"""What a line of a recorded program stands for: the native operations behind it, and their work.

Knows weights by their sizes; refuses to know how they are multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wazn import native


@dataclass(frozen=True, slots=True)
class Operation:
    """``what`` is the same for the same operation of every layer; ``text`` names the buffers.

    ``native`` are the numbers of the native operations. ``weight_bytes`` are read once a step,
    ``macs_per_row`` are multiply-accumulates for each row; the head has only the wanted rows.
    """

    what: str
    text: str
    native: range
    weight_bytes: int = 0
    macs_per_row: int = 0
    is_head: bool = False


def bytes_of(weights: Sequence[native.Weight], active: int = 1) -> int:
    """Packed bytes of matrices, or of ``active`` matrices of stacks of them."""
    return active * sum(
        native.packed_bytes(weight.layout, weight.rows, weight.columns) for weight in weights
    )


def macs_of(weights: Sequence[native.Weight], active: int = 1) -> int:
    """Multiply-accumulates for one row."""
    return active * sum(weight.rows * weight.columns for weight in weights)
