"""What holds of every answer in every format, however it is cut and however broken it is."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.answers.reading import family, joined, numbered, read
from tests.text.answers.test_published_examples import EXAMPLES
from wazn.text.answers.events import (
    ArgumentsDelta,
    ContentDelta,
    Event,
    ReasoningDelta,
    ToolCallEnd,
    ToolCallStart,
)
from wazn.text.answers.parser import AnswerParser
from wazn.text.families import FAMILIES
from wazn.text.reasoning import BRACKETS, NONE, SEED, THINK

FRAGMENTS = [
    *("<think>", "</think>", "<thi", "nk>", "[THINK]", "[/THINK]", "<seed:think>", "\n", " ", "<"),
    *("<tool_call>", "</tool_call>", "<tool", "_call>", '{"name": ', '"now"', '"get_weather"'),
    *(', "arguments": ', '{"city": "word', '"}', "{}", "}", "[", "]", ",", '{"a": ["\\""]}'),
    *(
        "<function=",
        "now",
        "get_weather",
        ">",
        "<parameter=",
        "city",
        "</parameter>",
        "</function>",
    ),
    *("<seed:tool_call>", "</seed:tool_call>", "<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>"),
    *('<｜DSML｜invoke name="', '">', '<｜DSML｜parameter name="', '" string="', "true", "false"),
    *("</｜DSML｜parameter>", "</｜DSML｜invoke>", "<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>"),
    *("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>", "```json\n", "```"),
    *("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<|python_tag|>", "now()", "get_weather(city='word')"),
    *("<|channel|>", "analysis", "final", "commentary", "<|message|>", "<|end|>", "<|start|>"),
    *(" to=functions.now", "assistant", "<|call|>", "<response>", "</response>", "é", "word"),
]
# Grammatical beginnings, so that chance gets far into each format.
BEGINNINGS = ["", *(str(text) for *_, text, _, _, _ in (list(one) for one in EXAMPLES.values()))]

rows = st.sampled_from(FAMILIES)
styles = st.sampled_from([THINK, SEED, BRACKETS, NONE])


@st.composite
def answers(draw: st.DrawFn) -> str:
    """A part of a published example with fragments of all formats behind it."""
    beginning = draw(st.sampled_from(BEGINNINGS))
    start = beginning[: draw(st.integers(0, len(beginning)))]
    return start + "".join(draw(st.lists(st.sampled_from(FRAGMENTS), max_size=12)))


def cut(text: str, cuts: list[int]) -> list[str]:
    borders = sorted({0, len(text), *(place % (len(text) + 1) for place in cuts)})
    return [text[start:stop] for start, stop in pairwise(borders)]


@settings(deadline=None, max_examples=200)
@given(row=rows, style=styles, text=answers(), cuts=st.lists(st.integers(0)), opened=st.booleans())
def test_the_events_do_not_depend_on_how_the_answer_is_cut(
    row: Any, style: Any, text: str, cuts: list[int], opened: bool
) -> None:
    this = family(row.name, style)
    whole = read(this, [text], opened=opened)
    assert read(this, cut(text, cuts), opened=opened) == whole
    assert read(this, text, opened=opened) == whole


@settings(deadline=None, max_examples=200)
@given(row=rows, style=styles, text=answers(), opened=st.booleans(), offered=st.booleans())
def test_calls_open_and_close_in_order_and_words_are_never_lost(
    row: Any, style: Any, text: str, opened: bool, offered: bool
) -> None:
    for number in range(text.count("word")):
        text = text.replace("word", f"w{number}.", 1)
    events = read(
        family(row.name, style), [text], opened=opened, tools=None if not offered else {"now": {}}
    )
    check_order(events)
    shown = "".join(
        event.name if isinstance(event, ToolCallStart) else getattr(event, "text", "")
        for event in events
    )
    position = 0
    for number in range(text.count("w") + 1):
        word = f"w{number}."
        if word in text:
            assert word in shown[position:], (word, events)
            position = shown.index(word, position)


def check_order(events: list[Event]) -> None:
    """Calls are numbered from 0, never nested, and every one ends."""
    open_index: int | None = None
    number = 0
    for event in events:
        match event:
            case ToolCallStart(index=index):
                assert open_index is None and index == number
                open_index = index
            case ArgumentsDelta(index=index):
                assert index == open_index
            case ToolCallEnd(index=index):
                assert index == open_index
                open_index, number = None, number + 1
            case _:
                assert open_index is None
    assert open_index is None


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_cut_answer_ends_its_call_with_an_error_and_shows_the_rest(name: str) -> None:
    row, thinking, opened, text, _, _, calls = EXAMPLES[name]
    this = family(row, thinking) if thinking else family(row)
    offered: dict[str, Any] = {call: {} for call, _ in calls} or {"get_weather": {}}
    for length in range(len(text)):
        events = read(this, [text[:length]], opened=opened, tools=offered)
        check_order(events)


@pytest.mark.parametrize("name", EXAMPLES)
def test_half_a_marker_is_never_shown(name: str) -> None:
    row, thinking, opened, text, reasoning, content, calls = EXAMPLES[name]
    this = family(row, thinking) if thinking else family(row)
    offered: dict[str, Any] = {call: {} for call, _ in calls} or {"get_weather": {}}
    parser = AnswerParser(this, opened=opened, tools=offered, new_id=numbered())
    so_far: list[Event] = []
    for letter in text:
        so_far += parser.push(letter)
        shown = joined(so_far)
        told = "".join(event.text for event in shown if isinstance(event, ReasoningDelta))
        said = "".join(event.text for event in shown if isinstance(event, ContentDelta))
        assert reasoning.startswith(told) and content.startswith(said)


def test_arguments_are_handed_on_as_they_come() -> None:
    for row, before, after in (
        ("hermes", '<tool_call>{"name": "get_weather", "arguments": {"city": "', '"}}</tool_call>'),
        ("qwen-tags", "<tool_call>\n<function=get_weather>\n<parameter=city>\n", "\n</parameter>"),
        ("deepseek-dsml", '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="get_weather">\n'
         '<｜DSML｜parameter name="city" string="true">', "</｜DSML｜parameter>"),
        ("gpt-oss", '<|channel|>commentary to=functions.get_weather<|message|>{"city": "', '"}'),
        ("mistral", '[TOOL_CALLS]get_weather[ARGS]{"city": "', '"}'),
        ("llama3", '{"name": "get_weather", "parameters": {"city": "', '"}}'),
    ):  # fmt: skip
        parser = AnswerParser(family(row), tools={"get_weather": {}}, new_id=numbered())
        began = parser.push(before)
        assert ToolCallStart(0, "call0", "get_weather") in began
        assert joined(began)[-1] == ArgumentsDelta(0, '{"city": "'), row
        for word in ("San", " Fran", "cisco"):
            assert parser.push(word) == [ArgumentsDelta(0, word)], row
        assert joined(parser.push(after))[0].text.startswith('"')  # type: ignore[union-attr]


def test_text_is_held_back_no_longer_than_needed() -> None:
    parser = AnswerParser(family("hermes"), tools={"now": {}}, new_id=numbered())
    assert parser.push("Wait <too") == [ContentDelta("Wait")]
    assert parser.push("th> a ") == [ContentDelta(" <tooth> a")]
    assert parser.push('<tool_call>{"name": "n') == []
    assert parser.push('ow"}') == [
        ToolCallStart(0, "call0", "now"), ArgumentsDelta(0, "{}"), ToolCallEnd(0)
    ]  # fmt: skip
    assert parser.push("\n</tool_call>\n") == []
    assert parser.push("Done. ") == [ContentDelta("Done.")]
    assert parser.finish() == [ContentDelta(" ")]
