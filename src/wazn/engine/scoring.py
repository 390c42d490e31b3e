"""Logits and hidden states of a whole text, outside of any request.

Runs between two steps on pages that it borrows from the scheduler and returns. Slices are short
where the vocabulary makes rows wide; the slicing cannot change a bit of the result.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wazn.engine.pages import pages_for
from wazn.engine.scheduler import Scheduler
from wazn.engine.served_model import ServedModel
from wazn.models.batch import Batch

LOGIT_ROWS = 64  # 39 MB of logits at a vocabulary of 152,000


def score_logits(
    model: ServedModel, scheduler: Scheduler, token_ids: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Logits (tokens, vocab) after each of ``token_ids`` (tokens,)."""
    result = np.empty((len(token_ids), model.config.vocab_size), dtype=np.float32)
    for start, batch in _batches(scheduler, token_ids, min(LOGIT_ROWS, model.max_rows)):
        result[start : start + len(batch.token_ids)] = model.forward(batch)
    return result


def score_mean_hidden(
    model: ServedModel, scheduler: Scheduler, token_ids: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Mean of the final-norm hidden states of ``token_ids`` (tokens,), as (hidden,)."""
    total = np.zeros(model.config.hidden_size, dtype=np.float64)
    for _, batch in _batches(scheduler, token_ids, model.max_rows):
        total += model.hidden(batch).sum(axis=0, dtype=np.float64)
    mean: NDArray[np.float64] = total / len(token_ids)
    return mean


def _batches(
    scheduler: Scheduler, token_ids: NDArray[np.int32], max_rows: int
) -> Iterator[tuple[int, Batch]]:
    """Batches of the text's consecutive slices, all rows wanted, and where each starts."""
    pages = scheduler.borrow(pages_for(len(token_ids)))
    try:
        for start in range(0, len(token_ids), max_rows):
            ids = token_ids[start : start + max_rows]
            yield (
                start,
                Batch(
                    token_ids=ids,
                    row_starts=np.array([0, len(ids)], dtype=np.int32),
                    first_positions=np.array([start], dtype=np.int32),
                    page_tables=np.array([pages], dtype=np.int32),
                    logit_rows=np.arange(len(ids), dtype=np.int32),
                    state_slots=scheduler.spare_slot,
                ),
            )
    finally:
        scheduler.return_pages(pages)
