"""From scheduled slices to the arrays of one ``Batch``.

Writes into buffers that live as long as the engine: a batch is valid until the next one is built.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wazn.engine.scheduler import Slice
from wazn.models.batch import Batch


class BatchBuilder:
    """Builds batches of at most ``max_rows`` rows."""

    def __init__(self, max_rows: int) -> None:
        self._token_ids = np.empty(max_rows, dtype=np.int32)
        self._row_starts = np.zeros(max_rows + 1, dtype=np.int32)
        self._first_positions = np.empty(max_rows, dtype=np.int32)
        self._logit_rows = np.empty(max_rows, dtype=np.int32)

    def build(self, slices: list[Slice]) -> Batch:
        """Rows in the order of ``slices``; logits of the last row of each that is then complete."""
        row = 0
        num_wanted = 0
        width = max(part.sequence.num_pages for part in slices)
        tables = np.full((len(slices), width), -1, dtype=np.int32)
        for place, part in enumerate(slices):
            sequence = part.sequence
            first = sequence.num_cached
            stop = row + part.num_rows
            self._token_ids[row:stop] = sequence.tokens.view()[first : first + part.num_rows]
            self._row_starts[place + 1] = stop
            self._first_positions[place] = first
            tables[place, : sequence.num_pages] = sequence.pages
            if part.is_complete:
                self._logit_rows[num_wanted] = stop - 1
                num_wanted += 1
            row = stop
        return Batch(
            token_ids=self._token_ids[:row],
            row_starts=self._row_starts[: len(slices) + 1],
            first_positions=self._first_positions[: len(slices)],
            page_tables=tables,
            logit_rows=self._logit_rows[:num_wanted],
            state_slots=_state_slots(slices),
        )


def _state_slots(slices: list[Slice]) -> NDArray[np.int32] | None:
    """Where the states of the sequences are, if the model has any."""
    slots = [part.sequence.slot for part in slices if part.sequence.slot is not None]
    return np.array(slots, dtype=np.int32) if slots else None
