"""Slots of states: how many there are, who has them, and what a text outside of requests uses."""

import numpy as np
import pytest

from tests.engine.fake_model import FakeModel
from tests.engine.serving import alone, engine_of, finish, prompt_of, request, tokens
from wazn.engine.engine import Engine
from wazn.engine.pages import SlotPool
from wazn.engine.params import SamplingParams
from wazn.errors import DoesNotFit


def test_a_quarter_of_the_budget_is_for_states() -> None:
    engine = Engine(FakeModel(state_bytes=1000), memory_bytes=40_000)
    assert engine.limits.num_slots == 9  # and one more, for texts outside of requests
    assert engine.limits.num_pages == 30


def test_there_are_no_more_states_than_rows_of_a_step() -> None:
    engine = Engine(FakeModel(max_rows=4, state_bytes=1), memory_bytes=40_000)
    assert engine.limits.num_slots == 4


def test_a_budget_without_room_for_a_state_and_a_page_is_refused_with_the_figures() -> None:
    model = FakeModel(state_bytes=2**20, page_bytes=2**20)
    with pytest.raises(
        DoesNotFit, match=r"0\.5 MiB beside 2 states of 1\.0 MiB; the smallest .* takes 1\.0 MiB"
    ):
        Engine(model, memory_bytes=5 * 2**19)
    assert Engine(model, memory_bytes=3 * 2**20).limits.num_pages == 1


def test_slots_are_handed_out_and_come_back() -> None:
    pool = SlotPool(2)
    assert (pool.take(), pool.take(), pool.spare) == (0, 1, 2)
    assert not pool.has_free
    pool.give_back(0)
    assert pool.has_free and pool.take() == 0
    none = SlotPool(0)
    assert none.has_free and none.take() is None and none.spare is None


def test_a_text_is_scored_between_steps_in_a_slot_of_its_own() -> None:
    engine = engine_of(pages=8, max_rows=16, state_slots=1)
    params = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
    one = request(prompt_of(20), params)
    engine.submit(one)
    increments = engine.step() + engine.step() + engine.step()
    scored = engine.logits(prompt_of(40, seed=1))
    alone = engine_of(pages=8, max_rows=16, state_slots=1).logits(prompt_of(40, seed=1))
    np.testing.assert_array_equal(scored, alone)
    finish(engine, increments)
    reference = engine_of(pages=8, max_rows=16)
    reference.submit(one)
    assert tokens(increments, one.id) == tokens(finish(reference), one.id)


def test_a_model_that_keeps_states_only_needs_no_pages() -> None:
    engine = Engine(FakeModel(page_bytes=0, state_bytes=10), None, 1000)
    assert engine.limits.num_pages > 0
    asked = [request(prompt_of(100, seed=place)) for place in range(3)]
    for one in asked:
        engine.submit(one)
    increments = finish(engine)
    assert [tokens(increments, one.id) for one in asked] == [alone(one.prompt_ids) for one in asked]
