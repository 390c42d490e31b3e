"""Calls that break their format: shown as text, or ended with the reason."""

import json

import pytest

from tests.text.answers.reading import family, read
from wazn.text.answers.events import (
    ArgumentsDelta,
    ContentDelta,
    ReasoningDelta,
    ToolCallEnd,
    ToolCallStart,
)
from wazn.text.answers.llama import MAX_CALL_CHARACTERS
from wazn.text.reasoning import THINK


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("hermes", "<tool_call>no JSON</tool_call>"),
        ("hermes", '<tool_call>{"name": 3}</tool_call>'),
        ("hermes", '<tool_call>{"name": ""}</tool_call>'),
        ("hermes", '<tool_call>{"surname": "now"}</tool_call>'),
        ("hermes", "<tool_call>[]</tool_call>"),
        ("hermes", '<tool_call>{"arguments": {"a": 1}}</tool_call>'),
        ("hermes", '<tool_call>{"arguments": {"a": 1}'),
        ("hermes", "<tool_call>"),
        ("qwen-tags", "<tool_call>\n{}\n</tool_call>"),
        ("qwen-tags", "The tag <function=\nbegins a call."),
        ("qwen-tags", "<tool_call>\n<function=now"),
        ("deepseek", "<｜tool▁calls▁begin｜>nothing<｜tool▁calls▁end｜>"),
        ("deepseek", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now"),
        ("deepseek-dsml", '<｜DSML｜tool_calls>\n<｜DSML｜parameter name="a" string="true">'),
        ("mistral", "[TOOL_CALLS]now\nand then"),
        ("mistral", "[TOOL_CALLS]now"),
        ("llama3", '{"name": "Paris", "parameters": {"people": 2}}'),
        ("llama3", '{"city": "Paris"}'),
        ("llama3", "[1] As the source says."),
        ("llama3", "[f(1)]"),
        ("llama3", '[{"name": "now"}]'),
        ("llama3", "<|python_tag|>print('now')\n"),
        ("llama3", "<|python_tag|>import os"),
        ("llama4", "[now(a=open('x'))]"),
        ("llama4", "[now(**a)]"),
        ("llama4", "[now(a=1e999)]"),
        ("llama4", "[other(a=1)]"),
        ("llama4", "[now(a=" + "(" * 5000 + ")" * 5000 + ")]"),
        ("llama4", "[now(a=" + "-" * 60_000 + "1)]"),
        ("llama4", "[now" + ".a" * 30_000 + "(a=1)]"),
        ("llama4", "[now(a=" + "1+" * 30_000 + "1)]"),
        ("llama4", "[now(a='" + "x" * MAX_CALL_CHARACTERS + "')]"),
    ],
)
def test_what_is_no_call_is_content(row: str, text: str) -> None:
    assert read(family(row), [text]) == [ContentDelta(text)]


def broken(row: str, text: str) -> tuple[str, str | None, str]:
    """Arguments and error of the only call, and the content behind it."""
    events = read(family(row), [text])
    assert isinstance(events[0], ToolCallStart)
    arguments = "".join(one.text for one in events if isinstance(one, ArgumentsDelta))
    [error] = [one.error for one in events if isinstance(one, ToolCallEnd)]
    content = "".join(one.text for one in events if isinstance(one, ContentDelta))
    return arguments, error, content


@pytest.mark.parametrize(
    ("row", "text", "arguments", "error", "content"),
    [
        ("hermes", '<tool_call>{"name": "now", "arguments": {"a": tru', '{"a": tru',
         "the answer ended inside the call.", ""),
        ("hermes", '<tool_call>{"name": "now", "arguments": {"a": tru}}</tool_call>', '{"a": tru}',
         "the arguments of now are no JSON", ""),
        ("hermes", '<tool_call>{"name": "now", "arguments": [1]}</tool_call>', "[1]",
         "the arguments of now are [1], not a JSON object.", ""),
        ("hermes", '<tool_call>{"name": "then", "arguments": {}}</tool_call>', "{}",
         "then is none of the tools that were offered: get_weather, now.", ""),
        ("hermes", '<tool_call>{"name": "now", "arguments": {}, "why": 1}</tool_call>', "{}",
         "a call has no field 'why' here.", ', "why": 1}</tool_call>'),
        ("hermes", '<tool_call>{"name": "now", "arguments": {}} Bye.', "{}", None, "Bye."),
        ("qwen-tags", "<tool_call>\n<function=now>\n<parameter=a>\n1\n</parameter>\nOops.",
         '{"a": "1"', "<parameter= or </function> is missing.", "Oops."),
        ("qwen-tags", "<tool_call>\n<function=now>\n<parameter=a>\n1", '{"a": "1',
         "the answer ended inside the call.", ""),
        ("qwen-tags", "<tool_call><function=now><parameter=a>1</parameter><parameter=a>2",
         '{"a": "1"', "the parameter a is given twice.", "<parameter=a>2"),
        ("deepseek", '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{"a": 1',
         '{"a": 1', "the answer ended inside the call.", ""),
        ("deepseek-dsml", '<｜DSML｜tool_calls><｜DSML｜invoke name="now">'
         '<｜DSML｜parameter name="a" string="no">', "", 'the parameter a has string="no".',
         '<｜DSML｜parameter name="a" string="no">'),
        ("mistral", "[TOOL_CALLS]now[ARGS]nothing", "", "'n' stands where the arguments begin.",
         "nothing"),
        ("gpt-oss", '<|channel|>commentary to=functions.now<|message|>{"a"', '{"a"',
         "the arguments of now are no JSON", ""),
    ],
)  # fmt: skip
def test_a_call_that_breaks_off_ends_with_the_reason(
    row: str, text: str, arguments: str, error: str | None, content: str
) -> None:
    found, reason, rest = broken(row, text)
    assert (found, rest) == (arguments, content)
    assert reason is None if error is None else reason is not None and reason.startswith(error)


@pytest.mark.parametrize(
    ("row", "broken_call", "next_call"),
    [
        ("qwen-tags", "<function=a b\n", "<tool_call>\n<function=now>\n</function>\n</tool_call>"),
        ("llama4", "[no call", '<|python_tag|>now.call(a="x")'),
        ("llama4", "[" + "x" * MAX_CALL_CHARACTERS + "yz", '<|python_tag|>now.call(a="x")'),
    ],
)
def test_however_it_is_cut_a_broken_call_swallows_no_other(
    row: str, broken_call: str, next_call: str
) -> None:
    whole = read(family(row), [broken_call + next_call])
    assert [type(event) for event in whole] == [
        ContentDelta, ToolCallStart, ArgumentsDelta, ToolCallEnd
    ]  # fmt: skip
    assert read(family(row), broken_call + next_call) == whole


def test_after_a_broken_call_the_next_one_is_found() -> None:
    text = '<tool_call>{</tool_call>\n<tool_call>{"name": "now"}</tool_call>'
    assert read(family("hermes"), [text]) == [
        ContentDelta("<tool_call>{</tool_call>"),
        ToolCallStart(0, "call0", "now"), ArgumentsDelta(0, "{}"), ToolCallEnd(0),
    ]  # fmt: skip


def test_a_call_inside_the_thinking_is_only_a_thought() -> None:
    text = '<think>Maybe <tool_call>{"name": "now"}</tool_call>?</think>No.'
    assert read(family("hermes", THINK), [text]) == [
        ReasoningDelta('Maybe <tool_call>{"name": "now"}</tool_call>?'), ContentDelta("No.")
    ]  # fmt: skip


def test_arguments_may_come_before_the_name_or_inside_a_string() -> None:
    text = '<tool_call>{"arguments": {"a": 1}, "name": "now"}</tool_call>'
    assert read(family("hermes"), text)[1] == ArgumentsDelta(0, '{"a": 1}')
    quoted = json.dumps({"name": "now", "arguments": '{"a": "ü"}'})
    assert read(family("hermes"), f"<tool_call>{quoted}</tool_call>")[1] == ArgumentsDelta(
        0, '{"a": "ü"}'
    )


def test_markers_that_are_tokens_are_not_found_in_the_text() -> None:
    row = family("hermes", THINK)
    markers = sorted(row.markers)
    spelled = '<think>a</think><tool_call>{"name": "now"}</tool_call>'
    assert read(row, spelled, tokens=markers) == [ContentDelta(spelled)]
    pieces: list[str | tuple[str]] = [
        ("<think>",), "The text </think> is no token.", ("</think>",), "\n\nSo <tool_call>:\n",
        ("<tool_call>",), '\n{"name": "now", "arguments": {"a": "</tool_call>"}}\n',
        ("</tool_call>",),
    ]  # fmt: skip
    assert read(row, pieces, tokens=markers) == [
        ReasoningDelta("The text </think> is no token."),
        ContentDelta("So <tool_call>:"),
        ToolCallStart(0, "call0", "now"),
        ArgumentsDelta(0, '{"a": "</tool_call>"}'),
        ToolCallEnd(0),
    ]


def test_a_closing_token_ends_a_call_even_inside_a_value() -> None:
    row = family("qwen-tags")
    pieces: list[str | tuple[str]] = [
        ("<tool_call>",), "<function=now><parameter=a>1", ("</tool_call>",), "Hm."
    ]  # fmt: skip
    assert read(row, pieces, tokens=sorted(row.markers)) == [
        ToolCallStart(0, "call0", "now"),
        ArgumentsDelta(0, '{"a": "1'),
        ToolCallEnd(0, "the answer ended inside the call."),
        ContentDelta("</tool_call>Hm."),
    ]
