"""One token from one row: penalties, bias, bans, log probabilities, and logits that are broken."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.engine.sampling import choose, plan_of, state_of
from wazn import native
from wazn.engine.request import TokenLogprob
from wazn.engine.sampler import Sampler

SIZE = 12


def row(*likeliest: int) -> NDArray[np.float32]:
    """Logits that fall from 2 in steps of 0.1 in the given order; all others are -5."""
    logits = np.full(SIZE, -5, dtype=np.float32)
    for place, token_id in enumerate(likeliest):
        logits[token_id] = 2 - 0.1 * place
    return logits


def test_greedy_takes_the_lowest_id_of_equals() -> None:
    logits = np.zeros(SIZE, dtype=np.float32)
    logits[[4, 7, 9]] = 1
    assert choose(logits, plan_of()) == 4


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    plan = plan_of(prompt=[5], repetition_penalty=2)
    assert choose(row(5, 6), plan) == 6  # 2.0 / 2 is below 1.9
    below_zero = np.full(SIZE, -10, dtype=np.float32)
    below_zero[[5, 6]] = -1, -1.5
    assert choose(below_zero, plan) == 6  # -1 * 2 is below -1.5


def test_repetition_penalty_counts_the_answer_too() -> None:
    plan = plan_of(prompt=[5], repetition_penalty=2)
    assert choose(row(5, 6, 7), plan, answer=[6]) == 7


@pytest.mark.parametrize("field", ["presence_penalty", "frequency_penalty"])
def test_presence_and_frequency_look_at_the_answer_alone(field: str) -> None:
    fields: dict[str, Any] = {field: 1}
    plan = plan_of(prompt=[5], **fields)
    assert choose(row(5, 6), plan) == 5
    assert choose(row(5, 6), plan, answer=[5]) == 6


def test_frequency_grows_with_the_count_and_presence_does_not() -> None:
    by_count, by_presence = plan_of(frequency_penalty=0.3), plan_of(presence_penalty=0.3)
    answer = [5, 6, 6, 7]
    # 6 leads by 0.2: once more counted it falls behind, merely present it stays in front.
    assert choose(row(6, 8, 5), by_count, answer=answer) == 8
    assert choose(row(6, 9, 5, 7), by_presence, answer=answer) == 9
    logits = row(6, 0, 5)
    logits[0] = -5
    assert choose(logits, by_count, answer=answer) == 5
    assert choose(logits, by_presence, answer=answer) == 6


@given(st.lists(st.integers(0, SIZE - 1), max_size=200), st.floats(0.5, 2), st.floats(-2, 2))
def test_penalties_are_those_of_the_plain_formula(
    answer: list[int], factor: float, each: float
) -> None:
    prompt = [1, 2, 2]
    logits = np.linspace(-1, 1, SIZE, dtype=np.float32)
    plan = plan_of(
        prompt, repetition_penalty=factor, frequency_penalty=each / 100, presence_penalty=each
    )
    expected = logits.astype(np.float64)
    for token_id in {*prompt, *answer}:
        value = expected[token_id]
        expected[token_id] = value / factor if value > 0 else value * factor
    for token_id in set(answer):
        expected[token_id] -= each + each / 100 * answer.count(token_id)
    best = choose(logits, plan, answer=answer)
    assert expected[best] == pytest.approx(expected.max(), abs=1e-5)


def test_the_logits_of_the_caller_are_left_alone() -> None:
    logits = row(5, 6)
    before = logits.copy()
    choose(logits, plan_of(prompt=[5], repetition_penalty=2, logit_bias={6: 5}, min_tokens=3))
    assert np.array_equal(logits, before)


def test_a_bias_is_added_to_the_logit() -> None:
    assert choose(row(5, 6), plan_of(logit_bias={9: 6.95})) == 5
    assert choose(row(5, 6), plan_of(logit_bias={9: 7.05})) == 9


def test_stop_ids_are_banned_until_there_are_min_tokens() -> None:
    plan = plan_of(min_tokens=2, logit_bias={3: 100})
    assert [choose(row(3, 6), plan, answer=[6] * done) for done in range(4)] == [6, 6, 3, 3]


def test_a_draw_depends_on_seed_position_and_index_alone() -> None:
    logits = np.zeros(SIZE, dtype=np.float32)

    def found(index: int = 0, **fields: Any) -> list[int]:
        plan = plan_of(temperature=1, **fields)
        return [choose(logits, plan, index, [7] * length) for length in range(40)]

    assert found(seed=1) == found(seed=1)
    assert found(seed=1) != found(seed=2)
    assert found(seed=1, index=1) != found(seed=1)
    assert found(seed=1, prompt=[5, 6])[:39] == found(seed=1)[1:]
    assert found(seed=-1) == found(seed=2**64 - 1)


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("logprobs", [None, 2])
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_broken_logits_are_an_error(
    temperature: float, logprobs: int | None, broken: float
) -> None:
    logits = row(5)
    logits[8] = broken
    with pytest.raises(FloatingPointError, match=f"^the logit of token 8 is {broken}$"):
        choose(logits, plan_of(temperature=temperature, logprobs=logprobs))


@pytest.mark.parametrize("size", [1, 15, 16, 17, 64, 65, 1000])
def test_a_nan_is_found_wherever_it_is(size: int) -> None:
    for place in {0, size // 2, size - 1}:
        logits = np.full(size, -np.inf, dtype=np.float32)
        logits[0] = 1
        logits[place] = np.nan
        logits[-1:] = np.nan
        with pytest.raises(FloatingPointError, match=f"the logit of token {place} is nan"):
            choose(logits, plan_of(stop_ids=()))


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_row_that_allows_no_token_is_an_error(temperature: float) -> None:
    logits = np.full(SIZE, -np.inf, dtype=np.float32)
    with pytest.raises(FloatingPointError, match="no token is allowed: all 12 logits are -inf"):
        choose(logits, plan_of(temperature=temperature))
    logits[3] = 5
    assert choose(logits, plan_of(temperature=temperature)) == 3
    with pytest.raises(FloatingPointError, match="no token is allowed"):
        choose(logits, plan_of(temperature=temperature, min_tokens=1))


def test_of_several_broken_rows_the_first_is_told_and_the_sampler_goes_on() -> None:
    sampler = Sampler(native.Pool(2))
    logits = np.stack([row(place) for place in range(SIZE)])
    states = [state_of(plan_of(temperature=1, top_k=1)) for _ in range(SIZE)]
    for place in range(6, SIZE):
        logits[place, place] = np.nan
    with pytest.raises(FloatingPointError, match="the logit of token 6 is nan"):
        sampler.choose(logits, states)
    assert [choice.token_id for choice in sampler.choose(logits[:6], states[:6])] == [*range(6)]


def test_ids_outside_the_vocabulary_and_missing_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="token 12 is outside the vocabulary of 12"):
        choose(row(5), plan_of(prompt=[SIZE]))
    with pytest.raises(ValueError, match="token 40 is outside the vocabulary of 12"):
        choose(row(5), plan_of(logit_bias={40: 1}))
    with pytest.raises(ValueError, match="there is no token -1"):
        state_of(plan_of(), answer=[-1])
    with pytest.raises(ValueError, match="a row of logits for each state"):
        Sampler(native.Pool(1)).choose(row(5)[None], [])
    with pytest.raises(ValueError, match="a row of logits"):
        Sampler(native.Pool(1)).choose(np.empty((1, 0), np.float32), [state_of(plan_of())])


def token_logprob(logits: NDArray[np.float32], token_id: int, num_top: int) -> TokenLogprob:
    """Those of a token that is chosen because of a bias."""
    plan = plan_of(logit_bias={token_id: 100}, logprobs=num_top)
    [choice] = Sampler(native.Pool(1)).choose(logits[None], [state_of(plan)])
    assert choice.token_id == token_id and choice.scores is not None
    return choice.scores


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
    assert len(token_logprob(logits[:4], 0, 20).top) == 4


def test_huge_logits_do_not_overflow() -> None:
    logits = np.array([3e38, -3e38, 0, 0], dtype=np.float32)
    assert token_logprob(logits, 0, 3).logprob == 0
    assert choose(np.array([1e30, 0, -1e30, 0], np.float32), plan_of(temperature=1)) == 0
