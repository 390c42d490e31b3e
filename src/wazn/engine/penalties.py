"""Penalties for tokens that were there before, kept as sparse counts that grow with the answer.

Only the ids that occurred are touched, so a step costs time by the number of distinct tokens, not
by the vocabulary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wazn.engine.defaults import Sampling
from wazn.engine.growing import GrowingArray


class Penalties:
    """Repetition over prompt and answer; presence and frequency over the answer alone."""

    def __init__(self, sampling: Sampling, prompt_ids: NDArray[np.int32]) -> None:
        self._sampling = sampling
        seen = np.unique(prompt_ids)
        self._seen = set(seen.tolist())
        self._seen_ids = GrowingArray(seen)
        self._slots: dict[int, int] = {}  # answer id → its place in the two arrays below
        self._answer_ids = GrowingArray(np.empty(0, np.int32))
        self._answer_counts = GrowingArray(np.empty(0, np.float32))

    def observe(self, token_id: int) -> None:
        """Count one token of the answer."""
        if token_id not in self._seen:
            self._seen.add(token_id)
            self._seen_ids.append(token_id)
        slot = self._slots.setdefault(token_id, len(self._slots))
        if slot == len(self._answer_ids):
            self._answer_ids.append(token_id)
            self._answer_counts.append(0)
        self._answer_counts.view()[slot] += 1

    def apply(self, logits: NDArray[np.float32]) -> None:
        """Change ``logits`` (vocab,) in place."""
        factor = self._sampling.repetition_penalty
        if factor != 1:
            ids = self._seen_ids.view()
            values = logits[ids]
            logits[ids] = np.where(values > 0, values / factor, values * factor)
        if len(self._answer_ids):
            counts = self._answer_counts.view()
            penalty = self._sampling.frequency_penalty * counts + self._sampling.presence_penalty
            logits[self._answer_ids.view()] -= penalty
