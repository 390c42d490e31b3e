"""Sampling a row by itself: plans without an engine, and what the native sampler makes of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wazn import native
from wazn.engine.defaults import Sampling, resolve
from wazn.engine.params import SamplingParams
from wazn.engine.plan import Plan
from wazn.engine.request import Request
from wazn.engine.sampler import Sampler, sampling_state

Floats = NDArray[np.float32]

EOS = 3


def plan_of(
    prompt: Sequence[int] = (0,),
    seed: int = 0,
    sampling: Sampling | None = None,
    stop_ids: Sequence[int] = (EOS,),
    **fields: Any,
) -> Plan:
    """A plan of these SamplingParams, greedy if they have no temperature."""
    params = SamplingParams(**{"temperature": 0, **fields})
    return Plan(
        request=Request("one", list(prompt), params),
        prompt_ids=np.array(prompt, dtype=np.int32),
        max_length=1000,
        sampling=resolve(params, {}) if sampling is None else sampling,
        stop_ids=frozenset(stop_ids),
        seed=seed,
    )


def state_of(plan: Plan, index: int = 0, answer: Sequence[int] = ()) -> native.SamplingState:
    """The state of a completion that has said ``answer``."""
    state = sampling_state(plan, index)
    for token_id in answer:
        state.observe(token_id)
    return state


def choose(logits: Floats, plan: Plan, index: int = 0, answer: Sequence[int] = ()) -> int:
    """The token that follows ``answer``."""
    sampler = Sampler(native.Pool(1))
    return sampler.choose(logits[None], [state_of(plan, index, answer)])[0].token_id


def draws(logits: Floats, sampling: Sampling, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Tokens (count,) drawn from the same logits at one position after the other."""
    sampler = Sampler(native.Pool(1))
    state = state_of(plan_of(seed=seed, sampling=sampling, stop_ids=()))
    found = []
    for _ in range(count):
        found.append(sampler.choose(logits[None], [state])[0].token_id)
        state.observe(found[-1])
    return np.array(found)


def candidates(
    logits: Floats, sampling: Sampling, isa: str | None = None
) -> tuple[NDArray[np.int32], Floats]:
    """Ids and weights of what can be drawn, by the kernels of ``isa``."""
    sampler = native.Sampler(native.Pool(1), isa or native.chosen_isa())
    return sampler.candidates(logits, state_of(plan_of(sampling=sampling, stop_ids=())))
