"""How an attention differs from the plain causal one over all positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class AttentionKind:
    """What one layer's attention does besides; the defaults are the plain one.

    ``window``: a position sees itself and the ``window`` - 1 before it. ``chunk``: position p sees
    none before p - p % chunk. ``softcap``: scores become softcap * tanh(score / softcap).
    ``is_tempered``: then they are multiplied by the model's factor for the query's position.
    ``scale`` of the scores, in place of 1 / sqrt(head size). ``sinks`` (heads,) float32: a score
    of each head more that takes a share of the softmax and brings no value (OpenAI 2025).

    Keys and values that no position will see again stay in memory.
    """

    window: int | None = None
    chunk: int | None = None
    softcap: float | None = None
    scale: float | None = None
    sinks: NDArray[np.float32] | None = None
    is_tempered: bool = False


PLAIN = AttentionKind()
