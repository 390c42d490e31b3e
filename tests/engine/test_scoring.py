"""Logits and embeddings through the Python API."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.engine.fake_model import BOS, FakeConfig, FakeModel, hidden_after, logits_after
from tests.engine.serving import prompt_of
from wazn import LLM
from wazn.errors import DoesNotFit


def open_llm(**fields: Any) -> LLM:
    return LLM(FakeModel(**fields), memory=1_000_000)


@pytest.fixture
def llm() -> Iterator[LLM]:
    with open_llm() as llm:
        yield llm


def test_logits_are_those_after_each_token(llm: LLM) -> None:
    ids = prompt_of(150)
    found = llm.logits(ids)
    assert found.shape == (150, 264) and found.dtype == np.float32
    assert all(np.array_equal(found[i], logits_after(ids[: i + 1])) for i in range(150))
    assert not llm.engine.has_work


def test_logits_may_fill_the_context_and_no_more() -> None:
    with open_llm(config=FakeConfig(context_length=100)) as llm:
        assert len(llm.logits(prompt_of(100))) == 100
        with pytest.raises(DoesNotFit, match="input has 101 tokens; this model's context is 100"):
            llm.logits(prompt_of(101))


def test_embeddings_are_mean_hidden_states_of_length_1(llm: LLM) -> None:
    text = "a text that takes more than one slice of rows"
    found = llm.embed([text, "b"])
    assert found.shape == (2, 8) and found.dtype == np.float32
    ids = [BOS, *text.encode()]
    mean = np.mean([hidden_after(ids[: i + 1]) for i in range(len(ids))], axis=0)
    assert found[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1], abs=1e-6)
    assert np.array_equal(llm.embed("b")[0], found[1])
    assert llm.embed([]).shape == (0, 8)
