"""From one row of logits to one token id, for one sequence.

Knows the sequence's parameters, its counts for penalties and its random stream; knows nothing of
batches, so a token cannot depend on what else is being served.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wazn.engine.filters import draw
from wazn.engine.penalties import Penalties
from wazn.engine.plan import Plan
from wazn.engine.random import uniform
from wazn.engine.request import TokenLogprob


class Sampler:
    """Chooses the tokens of completion ``index`` of a request."""

    def __init__(self, plan: Plan, index: int) -> None:
        params = plan.request.params
        sampling = plan.sampling
        self._sampling = sampling
        self._stream = (plan.seed, index)
        self._min_tokens = params.min_tokens
        self._stop_ids = np.array(sorted(plan.stop_ids), dtype=np.int64)
        bias = params.logit_bias or {}
        self._bias_ids = np.array(list(bias), dtype=np.int64)
        self._bias_values = np.array(list(bias.values()), dtype=np.float32)
        penalised = (
            sampling.repetition_penalty != 1
            or sampling.presence_penalty != 0
            or sampling.frequency_penalty != 0
        )
        self._penalties = Penalties(sampling, plan.prompt_ids) if penalised else None

    def choose(self, logits: NDArray[np.float32], position: int, num_tokens: int) -> int:
        """The id of the token at ``position``, after ``num_tokens`` of the answer.

        ``logits`` (vocab,) are left as they are. FloatingPointError if they hold NaN or +inf, or
        nothing finite.
        """
        bans_stop = num_tokens < self._min_tokens and len(self._stop_ids) > 0
        if self._penalties is not None or len(self._bias_ids) > 0 or bans_stop:
            logits = logits.copy()
        if self._penalties is not None:
            self._penalties.apply(logits)
        if len(self._bias_ids) > 0:
            logits[self._bias_ids] += self._bias_values
        if bans_stop:
            logits[self._stop_ids] = -np.inf
        best = int(logits.argmax())  # the first NaN, if there is one
        if not np.isfinite(logits[best]):
            raise FloatingPointError(f"the logit of token {best} is {logits[best]}")
        if self._sampling.temperature == 0:
            return best
        return draw(logits, self._sampling, uniform(*self._stream, position))

    def observe(self, token_id: int) -> None:
        """Record a token of the answer for the penalties of those that follow."""
        if self._penalties is not None:
            self._penalties.observe(token_id)


def token_logprob(logits: NDArray[np.float32], token_id: int, num_top: int) -> TokenLogprob:
    """Log probabilities of ``token_id`` and the ``num_top`` likeliest, of the raw ``logits``."""
    peak = logits.max()
    with np.errstate(over="ignore"):  # what lies that far below the peak has no weight
        total = np.sum(np.exp(logits - peak), dtype=np.float64)
    normaliser = float(peak) + float(np.log(total))
    num_top = min(num_top, len(logits))
    top: list[tuple[int, float]] = []
    if num_top:
        least = np.partition(logits, len(logits) - num_top)[len(logits) - num_top]
        ids = np.flatnonzero(logits >= least)
        ids = ids[np.argsort(-logits[ids], kind="stable")][:num_top]
        top = [(int(i), float(logits[i]) - normaliser) for i in ids]
    return TokenLogprob(token_id, float(logits[token_id]) - normaliser, top)
