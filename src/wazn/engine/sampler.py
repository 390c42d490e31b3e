"""From the logits of a step to its tokens, for all sequences that are complete in one native call.

Translates a plan for the native sampler and its answers for the engine. The arithmetic is in
``native/sampler.cpp``; its NumPy twin is ``wazn.engine.reference``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wazn import native
from wazn.engine.plan import Plan
from wazn.engine.request import TokenLogprob

_ANY_VOCABULARY = 2**31 - 1  # at least as large as any of them
_WORD = 2**64 - 1


class Choice(NamedTuple):
    """The next token of a sequence, with log probabilities if the request wants them."""

    token_id: int
    scores: TokenLogprob | None


class Sampler:
    """Chooses tokens on the threads of ``pool``; one caller at a time."""

    def __init__(self, pool: native.Pool) -> None:
        self._native = native.Sampler(pool, native.chosen_isa())

    def choose(
        self, logits: NDArray[np.float32], states: Sequence[native.SamplingState]
    ) -> list[Choice]:
        """The next tokens of sequences in these states; ``logits`` (states, vocab) are kept.

        FloatingPointError if a row holds NaN or +inf, or allows no token at all.
        """
        return [
            Choice(token_id, None if scores is None else TokenLogprob(token_id, *scores))
            for token_id, scores in self._native.sample(logits, list(states))
        ]


def sampling_state(plan: Plan, index: int) -> native.SamplingState:
    """The state of completion ``index`` before its first token; tell it each token it gets."""
    params = plan.request.params
    sampling = plan.sampling
    bias = params.logit_bias or {}
    return native.SamplingState(
        native.Sampling(
            temperature=sampling.temperature,
            top_k=min(sampling.top_k, _ANY_VOCABULARY),
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            typical_p=sampling.typical_p,
            repetition_penalty=sampling.repetition_penalty,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
        ),
        native.Stream(plan.seed & _WORD, index, len(plan.prompt_ids)),
        native.SpecialIds(
            prompt=plan.prompt_ids,
            biased=np.array(list(bias), dtype=np.int32),
            biases=np.array(list(bias.values()), dtype=np.float32),
            barred=np.array(sorted(plan.stop_ids), dtype=np.int32),
            min_tokens=min(params.min_tokens, plan.max_length),
        ),
        -1 if params.logprobs is None else params.logprobs,
    )
