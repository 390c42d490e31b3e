"""No mix, slicing or shortage of pages changes a token of anyone's answer."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.fake_model import EOS
from tests.engine.serving import (
    alone,
    engine_of,
    finish,
    greedy_truth,
    last,
    prompt_of,
    request,
    tokens,
)
from wazn.engine.engine import Engine
from wazn.engine.params import SamplingParams
from wazn.engine.request import Increment
from wazn.models.batch import PAGE

KINDS = [
    SamplingParams(temperature=0, max_tokens=30),
    SamplingParams(temperature=0, max_tokens=90, ignore_eos=True),
    SamplingParams(temperature=0.9, seed=5, max_tokens=20, ignore_eos=True),
    SamplingParams(temperature=1.5, top_p=0.9, seed=6, max_tokens=25, repetition_penalty=1.3),
    SamplingParams(temperature=0, max_tokens=1),
]

wishes = st.lists(
    st.tuples(
        st.integers(1, 150),  # length of the prompt
        st.integers(0, len(KINDS) - 1),
        st.integers(0, 12),  # steps before the next request arrives
    ),
    min_size=1,
    max_size=6,
)


def most_pages(length: int, kind: int) -> int:
    return -(-(length + (KINDS[kind].max_tokens or 0)) // PAGE)


@settings(deadline=None, max_examples=60)
@given(wishes, st.integers(1, 40), st.integers(0, 6), st.integers(0, 5), st.integers(0, 3))
def test_any_mix_gives_each_request_the_tokens_it_gets_alone(
    wishes: list[tuple[int, int, int]],
    max_rows: int,
    spare_pages: int,
    cancelled: int,
    state_slots: int,
) -> None:
    pages = max(most_pages(length, kind) for length, kind, _ in wishes) + spare_pages
    engine = engine_of(pages, max_rows=max_rows, state_slots=state_slots)
    assert engine.limits.num_pages == pages
    assert engine.limits.num_slots == min(state_slots, max_rows)
    increments: list[Increment] = []
    asked = []
    for place, (length, kind, pause) in enumerate(wishes):
        asked.append(request(prompt_of(length, seed=place), KINDS[kind]))
        engine.submit(asked[-1])
        for _ in range(pause):
            increments += engine.step()
    victim = asked[cancelled].id if cancelled < len(asked) else "nobody"
    engine.cancel(victim)
    finish(engine, increments)
    for one in asked:
        truth = alone(one.prompt_ids, one.params)
        found = tokens(increments, one.id)
        if one.id == victim:
            assert found == truth[: len(found)]
        else:
            assert found == truth
        assert last(increments, one.id).finish_reason is not None
    assert engine._scheduler._pool.num_free == pages and engine._scheduler.is_empty


def in_a_small_cache(engine: Engine, num_requests: int) -> int:
    """Serves long greedy requests together; how often a sequence lost positions it had."""
    params = SamplingParams(temperature=0, max_tokens=120, ignore_eos=True)
    asked = [request(prompt_of(30, seed=place), params) for place in range(num_requests)]
    for one in asked:
        engine.submit(one)
    increments: list[Increment] = []
    num_losses = 0
    while engine.has_work:
        before = {s: s.num_cached for s in engine._scheduler.sequences}
        increments += engine.step()
        num_losses += sum(s.num_cached < before[s] for s in engine._scheduler.sequences)
    for one in asked:
        assert tokens(increments, one.id) == greedy_truth(one.prompt_ids, 120)
    endings = [i.request_id for i in increments if i.finish_reason]
    assert endings == [one.id for one in asked], "the older finish first"
    return num_losses


def test_sequences_that_lose_their_pages_finish_with_the_same_tokens() -> None:
    assert in_a_small_cache(engine_of(pages=6, max_rows=32), 4) > 0


def test_sequences_with_a_state_begin_again_when_they_lose_a_page() -> None:
    assert in_a_small_cache(engine_of(pages=6, max_rows=32, state_slots=4), 4) > 0


def test_sequences_wait_for_a_state_slot() -> None:
    in_a_small_cache(engine_of(pages=30, max_rows=32, state_slots=1), 3)


def test_with_room_for_one_the_requests_follow_one_another() -> None:
    in_a_small_cache(engine_of(pages=3, max_rows=32), 3)


def test_one_row_a_step_is_enough() -> None:
    in_a_small_cache(engine_of(pages=6, max_rows=1), 2)


def test_a_stopping_answer_is_the_greedy_truth_up_to_its_stop() -> None:
    # Seeds whose greedy answer meets the stop id by chance within 3000 tokens are rare enough
    # that the prompt is searched for, not guessed.
    params = SamplingParams(temperature=0, max_tokens=400)
    for seed in range(40):
        prompt = prompt_of(4, seed)
        truth = greedy_truth(prompt, 400, stops=True)
        if truth[-1] == EOS:
            assert alone(prompt, params) == truth
            break
    else:
        raise AssertionError("no prompt stops")
