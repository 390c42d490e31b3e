"""One token from one row: penalties, bias, bans, log probabilities, and logits that are broken."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wazn.engine.defaults import resolve
from wazn.engine.params import SamplingParams
from wazn.engine.plan import Plan
from wazn.engine.request import Request
from wazn.engine.sampler import Sampler, token_logprob

SIZE = 12


def sampler(prompt: Sequence[int] = (0,), seed: int = 0, index: int = 0, **fields: Any) -> Sampler:
    params = SamplingParams(**{"temperature": 0, **fields})
    plan = Plan(
        request=Request("one", list(prompt), params),
        prompt_ids=np.array(prompt, dtype=np.int32),
        max_length=1000,
        sampling=resolve(params, {}),
        stop_ids=frozenset({3}),
        seed=seed,
    )
    return Sampler(plan, index)


def row(*likeliest: int) -> NDArray[np.float32]:
    """Logits that fall from 2 in steps of 0.1 in the given order; all others are -5."""
    logits = np.full(SIZE, -5, dtype=np.float32)
    for place, token_id in enumerate(likeliest):
        logits[token_id] = 2 - 0.1 * place
    return logits


def test_greedy_takes_the_lowest_id_of_equals() -> None:
    logits = np.zeros(SIZE, dtype=np.float32)
    logits[[4, 7, 9]] = 1
    assert sampler().choose(logits, 1, 0) == 4


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    chooser = sampler(prompt=[5], repetition_penalty=2)
    assert chooser.choose(row(5, 6), 1, 0) == 6  # 2.0 / 2 is below 1.9
    below_zero = np.full(SIZE, -10, dtype=np.float32)
    below_zero[[5, 6]] = -1, -1.5
    assert chooser.choose(below_zero, 1, 0) == 6  # -1 * 2 is below -1.5


def test_repetition_penalty_counts_the_answer_too() -> None:
    chooser = sampler(prompt=[5], repetition_penalty=2)
    chooser.observe(6)
    assert chooser.choose(row(5, 6, 7), 1, 1) == 7


@pytest.mark.parametrize("field", ["presence_penalty", "frequency_penalty"])
def test_presence_and_frequency_look_at_the_answer_alone(field: str) -> None:
    chooser = sampler(prompt=[5], **{field: 1})
    assert chooser.choose(row(5, 6), 1, 0) == 5
    chooser.observe(5)
    assert chooser.choose(row(5, 6), 1, 1) == 6


def test_frequency_grows_with_the_count_and_presence_does_not() -> None:
    by_count, by_presence = sampler(frequency_penalty=0.3), sampler(presence_penalty=0.3)
    for chooser in (by_count, by_presence):
        for token_id in (5, 6, 6, 7):
            chooser.observe(token_id)
    # 6 leads by 0.2: once more counted it falls behind, merely present it stays in front.
    assert by_count.choose(row(6, 8, 5), 1, 4) == 8
    assert by_presence.choose(row(6, 9, 5, 7)[::1], 1, 4) == 9
    logits = row(6, 0, 5)
    logits[0] = -5
    assert by_count.choose(logits, 1, 4) == 5
    assert by_presence.choose(logits, 1, 4) == 6


@given(st.lists(st.integers(0, SIZE - 1), max_size=200), st.floats(0.5, 2), st.floats(-2, 2))
def test_penalties_are_those_of_the_plain_formula(
    answer: list[int], factor: float, each: float
) -> None:
    prompt = [1, 2, 2]
    logits = np.linspace(-1, 1, SIZE, dtype=np.float32)
    chooser = sampler(
        prompt, repetition_penalty=factor, frequency_penalty=each / 100, presence_penalty=each
    )
    for token_id in answer:
        chooser.observe(token_id)
    expected = logits.astype(np.float64)
    for token_id in {*prompt, *answer}:
        value = expected[token_id]
        expected[token_id] = value / factor if value > 0 else value * factor
    for token_id in set(answer):
        expected[token_id] -= each + each / 100 * answer.count(token_id)
    best = chooser.choose(logits, 1, len(answer))
    assert expected[best] == pytest.approx(expected.max(), abs=1e-5)


def test_the_logits_of_the_caller_are_left_alone() -> None:
    logits = row(5, 6)
    before = logits.copy()
    chooser = sampler(prompt=[5], repetition_penalty=2, logit_bias={6: 5}, min_tokens=3)
    chooser.choose(logits, 1, 0)
    assert np.array_equal(logits, before)


def test_a_bias_is_added_to_the_logit() -> None:
    assert sampler(logit_bias={9: 6.95}).choose(row(5, 6), 1, 0) == 5
    assert sampler(logit_bias={9: 7.05}).choose(row(5, 6), 1, 0) == 9


def test_stop_ids_are_banned_until_there_are_min_tokens() -> None:
    chooser = sampler(min_tokens=2, logit_bias={3: 100})
    assert [chooser.choose(row(3, 6), 1, done) for done in range(4)] == [6, 6, 3, 3]


def test_a_draw_depends_on_seed_position_and_index_alone() -> None:
    logits = np.zeros(SIZE, dtype=np.float32)

    def draws(**fields: Any) -> list[int]:
        chooser = sampler(temperature=1, **fields)
        return [chooser.choose(logits, position, 7) for position in range(40)]

    assert draws(seed=1) == draws(seed=1)
    assert draws(seed=1) != draws(seed=2)
    assert draws(seed=1, index=1) != draws(seed=1)
    backwards = sampler(temperature=1, seed=1)
    assert [backwards.choose(logits, p, 0) for p in reversed(range(40))][::-1] == draws(seed=1)


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_broken_logits_are_an_error(temperature: float, broken: float) -> None:
    logits = row(5)
    logits[8] = broken
    with pytest.raises(FloatingPointError, match=f"the logit of token 8 is {broken}"):
        sampler(temperature=temperature).choose(logits, 1, 0)


def test_log_probabilities_are_those_of_the_whole_distribution() -> None:
    logits = np.random.default_rng(3).standard_normal(500, dtype=np.float32) * 3
    truth = logits - np.log(np.exp(logits.astype(np.float64)).sum())
    found = token_logprob(logits, 17, 5)
    assert found.id == 17 and found.logprob == pytest.approx(truth[17], abs=1e-5)
    assert [i for i, _ in found.top] == np.argsort(-truth)[:5].tolist()
    assert [value for _, value in found.top] == pytest.approx(np.sort(-truth)[:5] * -1, abs=1e-5)


def test_top_log_probabilities_of_equals_come_in_order_of_id() -> None:
    logits = np.zeros(100, dtype=np.float32)
    assert [i for i, _ in token_logprob(logits, 0, 3).top] == [0, 1, 2]
    assert token_logprob(logits, 0, 0).top == []
    assert len(token_logprob(logits[:2], 0, 20).top) == 2


def test_huge_logits_do_not_overflow() -> None:
    logits = np.array([3e38, -3e38, 0], dtype=np.float32)
    assert token_logprob(logits, 0, 3).logprob == 0
    assert sampler(temperature=1).choose(np.array([1e30, 0, -1e30], np.float32), 1, 0) == 0
