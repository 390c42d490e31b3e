"""The native sampler against its NumPy twin, bit for bit, on every instruction set at hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.engine.sampling import Floats, candidates, plan_of, state_of
from wazn import native
from wazn.engine import reference
from wazn.engine.defaults import Sampling
from wazn.engine.plan import Plan

SIZES = st.one_of(
    st.integers(1, 200), st.sampled_from([1023, 1024, 1025, 4097, 49_152, 151_936, 200_000])
)
SHARES = st.sampled_from([0.0, 1e-30, 0.001, 0.3, 0.5, 0.9, 0.99, 1 - 1e-9, 1.0])

samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 1e-30, 0.001, 0.2, 0.7, 1.0, 1.7, 100.0]),
    top_k=st.sampled_from([-1, 0, 0, 0, 1, 2, 5, 20, 100, 5000, 10**30]),
    top_p=st.one_of(st.just(1.0), SHARES),
    min_p=st.sampled_from([0.0, 0.0, 1e-300, 0.01, 0.5, 1.0]),
    typical_p=st.one_of(st.just(1.0), SHARES),
    repetition_penalty=st.sampled_from([1.0, 1.0, 0.5, 1.3, 100.0]),
    presence_penalty=st.sampled_from([0.0, 0.0, -2.0, 0.4]),
    frequency_penalty=st.sampled_from([0.0, 0.0, -1.0, 0.07]),
)


@st.composite
def rows_of(draw: st.DrawFn, sizes: st.SearchStrategy[int] = SIZES) -> Floats:
    """Logits with ties, ids that are out, and sizes from none to the largest float."""
    size = draw(sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([0.0, 1e-6, 1.0, 3.0, 20.0, 1e4, 1e30, 1e38]))
    logits = (rng.standard_normal(size) * spread).clip(-3.4e38, 3.4e38).astype(np.float32)
    if draw(st.booleans()):
        logits = np.round(logits)
    logits[rng.random(size) < draw(st.sampled_from([0, 0, 0.1, 0.99]))] = -np.inf
    logits[rng.integers(size)] = np.float32(spread)  # one at least is finite
    return logits


@st.composite
def plans_of(draw: st.DrawFn, size: int) -> tuple[Plan, list[int]]:
    """A plan for a vocabulary of this size, and what its answer is so far."""
    ids = st.lists(st.integers(0, size - 1), max_size=6)
    fields: dict[str, Any] = {
        "logprobs": draw(st.sampled_from([None, 0, 1, 5, 20])),
        "logit_bias": draw(
            st.dictionaries(st.integers(0, size - 1), st.floats(-100, 100), max_size=4)
        ),
        "min_tokens": draw(st.integers(0, 4)),
    }
    stop_ids = draw(ids) if size > 100 else []
    plan = plan_of(draw(ids), draw(st.integers(-(2**63), 2**64 - 1)), stop_ids=stop_ids, **fields)
    return replace(plan, sampling=draw(samplings)), draw(ids)


def is_allowed(logits: Floats) -> bool:
    return bool(np.isfinite(logits.max()))


@given(rows_of(), st.data())
@settings(max_examples=150, deadline=None)
def test_tokens_and_log_probabilities_equal_their_twin(logits: Floats, data: st.DataObject) -> None:
    plan, answer = data.draw(plans_of(len(logits)))
    isa = data.draw(st.sampled_from(native.available_isas()))
    sampler = native.Sampler(native.Pool(1), isa)
    with np.errstate(over="ignore"):
        if not is_allowed(reference.adjusted(logits, plan, answer)):
            with pytest.raises(FloatingPointError):
                sampler.sample(logits[None], [state_of(plan, 3, answer)])
            return
        expected = reference.choose(logits, plan, 3, answer)
    [(token_id, scores)] = sampler.sample(logits[None], [state_of(plan, 3, answer)])
    assert token_id == expected
    if plan.request.params.logprobs is None:
        assert scores is None
    else:
        twin = reference.token_logprob(logits, token_id, plan.request.params.logprobs)
        assert scores == (twin.logprob, twin.top)


@given(rows_of(), samplings, st.sampled_from(native.available_isas()))
@settings(max_examples=150, deadline=None)
def test_what_the_filters_leave_equals_its_twin(
    logits: Floats, sampling: Sampling, isa: str
) -> None:
    sampling = replace(
        sampling, repetition_penalty=1.0, presence_penalty=0.0, frequency_penalty=0.0
    )
    ids, weights = candidates(logits, sampling, isa)
    expected = reference.filtered(logits, sampling)
    np.testing.assert_array_equal(ids, expected.ids)
    np.testing.assert_array_equal(weights.view(np.uint32), expected.weights.view(np.uint32))


@given(
    rows_of(st.sampled_from([7, 1000, 49_152])),  # only a large batch is shared among threads
    st.lists(samplings, min_size=1, max_size=9),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_a_row_is_sampled_alike_alone_and_in_any_batch_on_any_threads(
    logits: Floats, asked: list[Sampling], threads: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    batch = np.stack([rng.permutation(logits) for _ in asked])
    plans = [
        plan_of(seed=place, sampling=sampling, stop_ids=(), logprobs=place % 3)
        for place, sampling in enumerate(asked)
    ]
    with np.errstate(over="ignore"):  # penalties of huge logits may leave a row nothing
        adjusted = [reference.adjusted(*pair, []) for pair in zip(batch, plans, strict=True)]
    assume(all(map(is_allowed, adjusted)))
    one, many = (native.Sampler(native.Pool(count), native.chosen_isa()) for count in (1, threads))
    alone = [
        one.sample(row[None], [state_of(plan)])[0] for row, plan in zip(batch, plans, strict=True)
    ]
    order = rng.permutation(len(asked))
    together = many.sample(batch[order], [state_of(plans[place]) for place in order])
    assert together == [alone[place] for place in order]


@given(st.floats(1, 1e6))
def test_the_logarithm_of_the_log_probabilities_is_close_to_the_exact_one(x: float) -> None:
    assert reference._natural_log(x) == pytest.approx(float(np.log(x)), rel=1e-15, abs=1e-15)
