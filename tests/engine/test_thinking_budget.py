"""Thinking that is ended in its family's way after so many tokens, and answered all the same."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.fake_model import (
    BOS,
    END_THINK,
    EOS,
    THINK,
    VOCAB_SIZE,
    FakeConfig,
    FakeModel,
    FakeTemplate,
    byte_letters,
    fake_tokenizer,
)
from tests.engine.serving import engine_of, finish, last, prompt_of, tokens
from wazn.engine.engine import Engine
from wazn.engine.llm import LLM
from wazn.engine.params import SamplingParams
from wazn.engine.request import Increment, Request
from wazn.engine.thinking_budget import ThinkingBudget
from wazn.errors import BadRequest
from wazn.text.families import FAMILIES, Family, detect_family
from wazn.text.thinking_marks import ThinkingMarks, thinking_marks
from wazn.text.tokenizer import Tokenizer
from wazn.text.vocabulary import AddedToken, Vocabulary

HARMONY = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>"]
START, CHANNEL, MESSAGE, END, CALL, RETURN = range(256, 262)
ANALYSIS = [CHANNEL, *b"analysis", MESSAGE]
NEXT = [END, START, *b"assistant"]
FINAL = [*NEXT, CHANNEL, *b"final", MESSAGE]


class HarmonyTemplate(FakeTemplate):
    sources = {"default": "".join(HARMONY)}  # noqa: RUF012


def harmony_tokenizer() -> Tokenizer:
    """One id a byte, then harmony's markers."""
    return Tokenizer(
        Vocabulary(
            tokens=[*byte_letters(), *HARMONY],
            spelling="byte-level",
            added=[AddedToken(256 + place, special=True) for place in range(len(HARMONY))],
            pre_tokenizer={
                "type": "ByteLevel",
                "add_prefix_space": False,
                "trim_offsets": False,
                "use_regex": False,
            },
            stop_ids=[CALL, RETURN],
        )
    )


def tags(template: str = "</think>") -> ThinkingMarks:
    tokenizer = fake_tokenizer()
    marks = thinking_marks(detect_family(tokenizer, template), tokenizer, template, VOCAB_SIZE)
    assert marks is not None
    return marks


def ask(engine: Engine, answer_of: int = 2, **fields: Any) -> list[Increment]:
    """What becomes of the prompt [1, answer_of] with these parameters of a request."""
    fields.setdefault("is_chat", True)
    budget = fields.pop("budget")
    params = SamplingParams(temperature=0, thinking_budget=budget, **fields.pop("params", {}))
    engine.submit(Request("r", [1, answer_of], params, **fields))
    return finish(engine)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("budget", [0, 1, 3])
def test_thinking_ends_after_its_budget_and_the_answer_follows(budget: int, opened: bool) -> None:
    begin = [] if opened else [10, THINK]  # a line break may stand before it
    answer = [*begin, *b"hm, so"[: budget + 1], *b"0000", *b"Yes"]
    forced = [*b"\n", END_THINK, *b"\n\n"]
    engine = engine_of(script={(1, 2): answer})
    increments = ask(engine, budget=budget, reasoning_open=opened)
    expected = [*begin, *b"hm, so"[:budget], *forced]
    assert tokens(increments, "r")[: len(expected)] == expected
    assert "".join(i.reasoning for i in increments) == "hm, so"[:budget].rstrip()
    assert "".join(i.text for i in increments).endswith("Yes")
    assert "<" not in "".join(i.text for i in increments)
    ending = last(increments, "r")
    assert ending.finish_reason == "stop" and ending.usage is not None
    assert ending.usage.completion_tokens == len(tokens(increments, "r")) == len(answer) + 1


def test_a_model_that_ends_its_thinking_itself_is_left_alone() -> None:
    answer = [THINK, *b"abc", END_THINK, *b"Yes, <and> then", THINK, *b"more"]
    for budget in (3, 4, 100):
        increments = ask(engine_of(script={(1, 2): answer}), budget=budget)
        assert tokens(increments, "r") == [*answer, EOS]


def test_what_begins_otherwise_does_not_think() -> None:
    answer = [*b"No", THINK, *b"this is text"]
    assert tokens(ask(engine_of(script={(1, 2): answer}), budget=0), "r") == [*answer, EOS]


def test_a_line_that_is_ended_is_not_ended_again() -> None:
    answer = [THINK, *b"ab\n", *b"xxxx", *b"Yes"]
    increments = ask(engine_of(script={(1, 2): answer}), budget=3)
    assert tokens(increments, "r")[4:] == [END_THINK, *b"\n\n", *b"xYes", EOS]


@pytest.mark.parametrize(
    ("template", "ending"),
    [
        ("{{ '<think>\\n' }} </think>", [10, END_THINK, 10, 10]),  # Qwen, R1
        ("{{ '<think>' }} </think>", [END_THINK]),  # DeepSeek from V3.1 on
        ("the vocabulary alone shows it", [10, END_THINK, 10, 10]),
    ],
)
def test_lines_around_the_marker_are_those_of_the_template(
    template: str, ending: list[int]
) -> None:
    marks = tags(template)
    assert [*marks.line_break, *marks.ending] == ending


def test_a_cut_answer_may_run_out_of_tokens_in_its_ending() -> None:
    engine = engine_of(script={(1, 2): [THINK, *b"hm, hm, hm"]})
    increments = ask(engine, budget=2, params={"max_tokens": 4})
    assert tokens(increments, "r") == [THINK, *b"hm", 10]
    assert last(increments, "r").finish_reason == "length"


def test_a_stop_id_in_the_ending_ends_the_answer() -> None:
    engine = engine_of(script={(1, 2): [THINK, *b"hm, hm, hm"]})
    increments = ask(engine, budget=2, params={"stop_token_ids": [END_THINK]})
    assert tokens(increments, "r") == [THINK, *b"hm", 10, END_THINK]
    assert last(increments, "r").finish_reason == "stop"


def test_forced_tokens_have_no_log_probability() -> None:
    engine = engine_of(script={(1, 2): [THINK, *b"hm, hm", *b"Yes"]})
    increments = ask(engine, budget=2, params={"logprobs": 1})
    scored = [[score.id for score in i.logprobs or ()] for i in increments if i.token_ids]
    chosen = [list(i.token_ids) for i in increments if i.token_ids]
    assert scored == [*chosen[:3], [], [], [], [], *chosen[7:]]


def test_n_answers_have_a_budget_each() -> None:
    engine = engine_of()
    params = SamplingParams(temperature=2, seed=3, n=3, thinking_budget=4, max_tokens=30)
    engine.submit(Request("r", [1, 2], params, is_chat=True, reasoning_open=True))
    increments = finish(engine)
    for index in range(3):
        found = tokens(increments, "r", index)
        assert END_THINK in found[:7]
    assert len({tuple(tokens(increments, "r", index)) for index in range(3)}) == 3


class TestHarmony:
    def engine(self, answer: Sequence[int], num_after: int = 1) -> Engine:
        return engine_of(
            script={(1, 2): [*answer, RETURN] * num_after},
            tokenizer=harmony_tokenizer(),
            chat_template=HarmonyTemplate(),
            stop_ids=frozenset({CALL, RETURN}),
        )

    def test_an_analysis_is_ended_and_the_answer_begun(self) -> None:
        answer = [*ANALYSIS, *b"hm", *[ord("x")] * len(FINAL), *b"Yes"]
        increments = ask(self.engine(answer), budget=2)
        assert tokens(increments, "r") == [*ANALYSIS, *b"hm", *FINAL, *b"Yes", RETURN]
        assert "".join(i.reasoning for i in increments) == "hm"
        assert "".join(i.text for i in increments) == "Yes"

    def test_a_budget_of_zero_leaves_an_empty_analysis(self) -> None:
        answer = [*ANALYSIS, *[ord("x")] * len(FINAL), *b"Yes"]
        increments = ask(self.engine(answer), budget=0)
        assert "".join(i.reasoning for i in increments) == ""
        assert "".join(i.text for i in increments) == "Yes"

    def test_two_analyses_share_one_budget(self) -> None:
        said = [CHANNEL, *b"commentary", MESSAGE, *b"One moment.", *NEXT]
        first = [*ANALYSIS, *b"hm", *NEXT, *said, *ANALYSIS, *b"so"]
        answer = [*first, *[ord("x")] * len(FINAL), *b"Yes"]
        increments = ask(self.engine(answer), budget=4)
        assert tokens(increments, "r") == [*first, *FINAL, *b"Yes", RETURN]
        assert "".join(i.reasoning for i in increments) == "hm\n\nso"

    def test_with_tools_it_may_call_after_its_thinking(self) -> None:
        call = [CHANNEL, *b"commentary to=functions.now", MESSAGE, *b"{}", CALL]
        answer = [*ANALYSIS, *b"hm", *[ord("x")] * len(NEXT), *call]
        increments = ask(self.engine(answer), budget=2, tools={"now": {}})
        assert tokens(increments, "r") == [*ANALYSIS, *b"hm", *NEXT, *call]
        assert any(i.calls for i in increments)

    def test_with_tools_one_that_only_thinks_on_must_answer(self) -> None:
        again = [*ANALYSIS, *[ord("x")] * len(FINAL)]
        answer = [*ANALYSIS, *b"hm", *[ord("x")] * len(NEXT), *again, *b"Yes"]
        increments = ask(self.engine(answer), budget=2, tools={"now": {}})
        whole = [*ANALYSIS, *b"hm", *NEXT, *ANALYSIS, *FINAL, *b"Yes", RETURN]
        assert tokens(increments, "r") == whole
        assert "".join(i.text for i in increments) == "Yes"


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from([THINK, END_THINK, 10, *b"ab"]), max_size=40),
    st.integers(0, 12),
    st.booleans(),
)
def test_no_more_is_thought_than_allowed_and_nothing_else_is_changed(
    drawn: list[int], budget: int, opened: bool
) -> None:
    watch = ThinkingBudget(tags(), budget, opened=opened)
    taken = [watch.take(token_id) for token_id in drawn]
    assert all(forced or token == one for (token, forced), one in zip(taken, drawn, strict=True))
    forced = [token for token, is_forced in taken if is_forced]
    whole = [*b"\n", END_THINK, *b"\n\n"]
    assert forced in (whole[: len(forced)], whole[1 : 1 + len(forced)])
    free = [token for token, is_forced in taken if not is_forced]
    if not forced:
        return
    before = free[: [is_forced for _, is_forced in taken].index(True)]
    thought = before if opened else before[before.index(THINK) + 1 :]
    assert len(thought) == budget and END_THINK not in thought


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(0, 6), st.integers(0, 20))
def test_a_budget_holds_to_the_bit_in_any_company(rows: int, spare: int, budget: int) -> None:
    def served(places: Sequence[int], max_rows: int, pages: int) -> list[list[int]]:
        engine = engine_of(pages, max_rows=max_rows)
        for place in places:
            params = SamplingParams(
                temperature=0.9, seed=place, max_tokens=60, ignore_eos=True, thinking_budget=budget
            )
            ids = prompt_of(20 + 30 * place, seed=place)
            engine.submit(Request(str(place), ids, params, is_chat=True, reasoning_open=True))
        increments = finish(engine)
        return [tokens(increments, str(place)) for place in places]

    together = served(range(4), rows, 4 + spare)
    assert together == [served([place], 16, 1000)[0] for place in range(4)]
    assert all(END_THINK in answer[: budget + 2] for answer in together)


def test_a_budget_without_thinking_is_refused() -> None:
    with pytest.raises(BadRequest, match="thinking_budget is 8, and this is a raw prompt"):
        ask(engine_of(), budget=8, is_chat=False)
    plain = engine_of(tokenizer=None, chat_template=None)
    with pytest.raises(BadRequest, match="thinking_budget is 8, but this model has no tokens that"):
        ask(plain, budget=8)
    unknown = engine_of(config=FakeConfig(vocab_size=END_THINK))
    with pytest.raises(BadRequest, match="no tokens that mark thinking"):
        ask(unknown, budget=8)


@pytest.mark.parametrize("budget", [-1, True, 1.0, "8"])
def test_what_is_no_number_of_tokens_is_refused(budget: Any) -> None:
    with pytest.raises(
        BadRequest, match=r"^thinking_budget is .+; it must be a whole number of at least 0\.$"
    ):
        SamplingParams(thinking_budget=budget)


class SwitchTemplate(FakeTemplate):
    """Notes what it was told."""

    def __init__(self, source: str) -> None:
        self.sources = {"default": source}
        self.told: list[dict[str, Any]] = []

    def prompt(self, messages: Any, **variables: Any) -> Any:
        self.told.append(variables)
        return super().prompt(messages, **variables)


SEED = "<seed:tool_call> {% if thinking_budget is defined %} <think>\n"
QWEN = "<tool_call> {% if enable_thinking %} <think>\n"


@pytest.mark.parametrize(
    ("source", "budget", "given", "told"),
    [
        (SEED, 512, {}, {"thinking_budget": 512}),
        (SEED, 0, {}, {"thinking_budget": 0}),
        (SEED, 512, {"thinking_budget": 64}, {"thinking_budget": 64}),
        (QWEN, 512, {}, {}),
        (QWEN, 0, {}, {"enable_thinking": False}),
        (QWEN, 0, {"enable_thinking": True}, {"enable_thinking": True}),
        ("no switch", 0, {}, {}),
    ],
)
def test_templates_that_know_of_budgets_are_told(
    source: str, budget: int, given: dict[str, Any], told: dict[str, Any]
) -> None:
    template = SwitchTemplate(source)
    prompt = (BOS, *b"user:Hi\nassistant:")
    model = FakeModel(script={prompt: [*b"Yes"]}, chat_template=template)
    with LLM(model, memory=100_000) as llm:
        params = SamplingParams(temperature=0, thinking_budget=budget)
        llm.chat([{"role": "user", "content": "Hi"}], params, **given)
    assert template.told == [{"add_generation_prompt": True, **told}]


def test_every_row_of_the_table_has_its_marks_or_none() -> None:
    for family in FAMILIES:
        marks = thinking_marks(family, harmony_tokenizer(), "", VOCAB_SIZE)
        assert (marks is not None) == family.is_harmony
    assert thinking_marks(Family("any", is_harmony=True), fake_tokenizer(), "", VOCAB_SIZE) is None
