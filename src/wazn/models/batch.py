"""One forward step of a mixed batch: which tokens, whose, where, and whose logits are wanted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PAGE = 64
"""Positions per KV page. Attention reduces blocks of this many positions, counted from 0."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of several sequences in one step; all arrays are int32 and C-contiguous.

    The rows of sequence ``s`` are ``row_starts[s]:row_starts[s + 1]``, at consecutive positions
    from ``first_positions[s]``; its KV page for position ``p`` is ``page_tables[s, p // PAGE]``.
    The state of a sequence is kept in slot ``state_slots[s]``; it goes on from the position that it
    was left at, or begins anew at 0.
    """

    token_ids: NDArray[np.int32]  # (rows,)
    row_starts: NDArray[np.int32]  # (sequences + 1,)
    first_positions: NDArray[np.int32]  # (sequences,)
    page_tables: NDArray[np.int32]  # (sequences, max_pages), unused entries -1
    logit_rows: NDArray[np.int32]  # (wanted,) rows whose logits are wanted
    state_slots: NDArray[np.int32] | None = None  # (sequences,); for models with a state only
