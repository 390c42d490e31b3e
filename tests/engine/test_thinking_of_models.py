"""A thinking budget through template, tokenizer and the arithmetic of a tiny Qwen3."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.golden.build import tiny_directory
from tests.golden.catalogue import FOLDER, LLAMA, QWEN3
from wazn.engine.llm import LLM
from wazn.engine.params import SamplingParams
from wazn.engine.request import Completion
from wazn.errors import BadRequest

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
BUDGET = 9
CUT = SamplingParams(temperature=0, max_tokens=30, ignore_eos=True, thinking_budget=BUDGET)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose prompts end in ``<think>`` and a line break."""
    folder = tiny_directory(QWEN3, tmp_path_factory.mktemp("thinking") / "qwen3")
    shutil.copy(FOLDER / "templates" / "qwen3.5.jinja", folder / "chat_template.jinja")
    return folder


@pytest.fixture(scope="module")
def llm(folder: Path) -> Iterator[LLM]:
    with LLM(folder, threads=2, memory=50 << 20) as llm:
        yield llm


def answer_of(llm: LLM, params: SamplingParams, **variables: Any) -> Completion:
    answer = llm.chat(QUESTION, params, **variables)
    assert isinstance(answer, Completion)
    return answer


def test_thinking_is_cut_and_the_model_goes_on_from_there(llm: LLM) -> None:
    free = SamplingParams(temperature=0, max_tokens=BUDGET, ignore_eos=True)
    thought = answer_of(llm, free, enable_thinking=True).token_ids
    answer = answer_of(llm, CUT, enable_thinking=True)
    ending = llm.tokenizer.encode("\n</think>\n\n")
    assert answer.token_ids[:BUDGET] == thought
    cut_at = BUDGET + len(ending)
    assert answer.token_ids[BUDGET:cut_at] == ending
    prompt = llm.prepare(QUESTION, CUT, enable_thinking=True).prompt_ids
    rest = SamplingParams(temperature=0, max_tokens=30 - cut_at, ignore_eos=True)
    fresh = llm.generate([[*prompt, *thought, *ending]], rest)[0]
    assert isinstance(fresh, Completion)
    assert fresh.token_ids == answer.token_ids[cut_at:]
    assert answer.text == llm.tokenizer.decode(answer.token_ids[cut_at:]).lstrip("\n")
    assert answer.usage.completion_tokens == 30


def test_company_changes_no_token_and_streaming_shows_the_same(llm: LLM) -> None:
    alone = answer_of(llm, CUT, enable_thinking=True)
    streams = [
        llm.chat(QUESTION, CUT, stream=True, enable_thinking=True),
        llm.chat([*QUESTION, *QUESTION], CUT, stream=True, enable_thinking=True),
        llm.stream("Once", SamplingParams(temperature=1, seed=1, max_tokens=50)),
    ]
    increments, *_ = [list(stream) for stream in streams]
    assert [token for i in increments for token in i.token_ids] == alone.token_ids
    assert "".join(i.reasoning for i in increments) == alone.reasoning
    assert "".join(i.text for i in increments) == alone.text


def test_no_budget_at_all_is_told_to_the_template(llm: LLM) -> None:
    none = SamplingParams(temperature=0, max_tokens=5, thinking_budget=0)
    switched = SamplingParams(temperature=0, max_tokens=5)
    expected = answer_of(llm, switched, enable_thinking=False)
    assert answer_of(llm, none).token_ids == expected.token_ids
    cut = answer_of(llm, none, enable_thinking=True)
    assert cut.token_ids[:3] == llm.tokenizer.encode("\n</think>\n\n")[:3] and not cut.reasoning


def test_a_model_that_does_not_think_refuses_a_budget(tmp_path: Path) -> None:
    with LLM(tiny_directory(LLAMA, tmp_path / "llama"), memory=50 << 20) as llm:
        with pytest.raises(BadRequest, match="this model has no tokens that mark thinking"):
            llm.chat(QUESTION, CUT)
