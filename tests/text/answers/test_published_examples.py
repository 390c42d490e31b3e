"""Every family's calls as its makers show them, read whole and letter by letter."""

import json
from typing import Any

import pytest

from tests.text.answers.reading import family, read
from wazn.text.answers.events import (
    ArgumentsDelta,
    CallEvent,
    ContentDelta,
    Event,
    ReasoningDelta,
    ToolCallEnd,
    ToolCallStart,
    joined_calls,
)
from wazn.text.reasoning import BRACKETS, SEED, THINK, ReasoningStyle

# family, thinking markers, whether the prompt opened them, the answer, then what it says:
# thinking, content, calls
EXAMPLES: dict[str, tuple[str, ReasoningStyle | None, bool, str, str, str, list[Any]]] = {
    # The function-calling guide of Qwen's documentation.
    "qwen2.5": (
        "hermes", None, False,
        '<tool_call>\n{"name": "get_current_temperature", "arguments": {"location": '
        '"San Francisco, CA, USA"}}\n</tool_call>\n<tool_call>\n{"name": "get_temperature_date", '
        '"arguments": {"location": "San Francisco, CA, USA", "date": "2024-10-01"}}\n</tool_call>',
        "", "",
        [("get_current_temperature", {"location": "San Francisco, CA, USA"}),
         ("get_temperature_date", {"location": "San Francisco, CA, USA", "date": "2024-10-01"})],
    ),
    "qwen3": (
        "hermes", THINK, False,
        '<think>\nOkay, the user asks for the temperature.\n</think>\n\n<tool_call>\n{"name": '
        '"get_current_temperature", "arguments": {"location": "Paris", "unit": "celsius"}}\n'
        "</tool_call>",
        "Okay, the user asks for the temperature.", "",
        [("get_current_temperature", {"location": "Paris", "unit": "celsius"})],
    ),
    # The system prompt in the chat templates of Qwen3-Coder and Qwen3.5.
    "qwen3.5": (
        "qwen-tags", THINK, True,
        "I should call it.\n</think>\n\nLet me see.\n\n<tool_call>\n"
        "<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n"
        "<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can "
        "span\nmultiple lines\n</parameter>\n</function>\n</tool_call>",
        "I should call it.", "Let me see.",
        [("example_function_name", {
            "example_parameter_1": "value_1",
            "example_parameter_2":
                "This is the value for the second parameter\nthat can span\nmultiple lines"})],
    ),
    "qwen3-coder": (
        "qwen-tags", None, False,
        "<tool_call>\n<function=square_the_number>\n<parameter=input_num>\n1024\n</parameter>\n"
        "</function>\n</tool_call>",
        "", "",
        [("square_the_number", {"input_num": 1024})],
    ),
    # The system prompt in the chat template of Seed-OSS, and the budget notes of its model card.
    "seed-oss": (
        "seed-oss", SEED, False,
        "<seed:think>Got it.\n<seed:cot_budget_reflect>I have used 131 tokens, and there are 381 "
        "tokens remaining for use.</seed:cot_budget_reflect>\nNow.</seed:think><seed:tool_call>\n"
        "<function=example_function_name>\n<parameter=example_parameter_1>value_1</parameter>\n"
        "<parameter=example_parameter_2>This is the value for the second parameter\nthat can span\n"
        "multiple lines</parameter>\n</function>\n</seed:tool_call>",
        "Got it.\n<seed:cot_budget_reflect>I have used 131 tokens, and there are 381 tokens "
        "remaining for use.</seed:cot_budget_reflect>\nNow.", "",
        [("example_function_name", {
            "example_parameter_1": "value_1",
            "example_parameter_2":
                "This is the value for the second parameter\nthat can span\nmultiple lines"})],
    ),
    # The chat templates of DeepSeek R1 and V3.1.
    "deepseek-r1": (
        "deepseek", THINK, True,
        "Look it up.\n</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>"
        'get_weather\n```json\n{"city": "杭州"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>'
        'function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        "Look it up.", "",
        [("get_weather", {"city": "杭州"}), ("now", {})],
    ),
    "deepseek-v3.1": (
        "deepseek", THINK, False,
        "One moment.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
        '{"city": "杭州"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}'
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "", "One moment.",
        [("get_weather", {"city": "杭州"}), ("now", {})],
    ),
    # The tools section of DeepSeek V3.2's encoding, and the first test case of V4's.
    "deepseek-v3.2": (
        "deepseek-dsml", THINK, True,
        "Both.</think>Sure.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"search\">\n"
        '<｜DSML｜parameter name="query" string="true">a "b" <c></｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="limit" string="false">5</｜DSML｜parameter>\n'
        "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"now\">\n\n</｜DSML｜invoke>\n"
        "</｜DSML｜function_calls>",
        "Both.", "Sure.",
        [("search", {"query": 'a "b" <c>', "limit": 5}), ("now", {})],
    ),
    "deepseek-v4": (
        "deepseek-dsml", THINK, True,
        "The user wants to know the weather in Beijing. I should use the get_weather tool.</think>"
        '\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name="get_weather">\n<｜DSML｜parameter '
        'name="location" string="true">Beijing</｜DSML｜parameter>\n<｜DSML｜parameter name="unit" '
        'string="true">celsius</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>',
        "The user wants to know the weather in Beijing. I should use the get_weather tool.", "",
        [("get_weather", {"location": "Beijing", "unit": "celsius"})],
    ),
    # OpenAI's guide to the harmony format.
    "gpt-oss": (
        "gpt-oss", None, False,
        "<|channel|>analysis<|message|>Need to use function get_current_weather.<|end|><|start|>"
        "assistant<|channel|>commentary to=functions.get_current_weather <|constrain|>json"
        '<|message|>{"location":"San Francisco"}<|call|>',
        "Need to use function get_current_weather.", "",
        [("get_current_weather", {"location": "San Francisco"})],
    ),
    "gpt-oss preamble": (
        "gpt-oss", None, False,
        "<|channel|>analysis<|message|>{long chain of thought}<|end|><|start|>assistant<|channel|>"
        "commentary<|message|>**Action plan**:\n1. Generate an HTML file<|end|><|start|>assistant "
        "to=functions.generate_file<|channel|>commentary <|constrain|>json<|message|>"
        '{"template": "basic_html", "path": "index.html"}<|call|>',
        "{long chain of thought}", "**Action plan**:\n1. Generate an HTML file",
        [("generate_file", {"template": "basic_html", "path": "index.html"})],
    ),
    # Meta's prompt-format pages of Llama 3.1, 3.2 and 4.
    "llama3.1": (
        "llama3", None, False,
        '{"name": "get_current_conditions", "parameters": {"location": "San Francisco, CA", '
        '"unit": "Fahrenheit"}}',
        "", "",
        [("get_current_conditions", {"location": "San Francisco, CA", "unit": "Fahrenheit"})],
    ),
    "llama3.1 built-in": (
        "llama3", None, False,
        '<|python_tag|>brave_search.call(query="current weather in Menlo Park, California")',
        "", "",
        [("brave_search", {"query": "current weather in Menlo Park, California"})],
    ),
    "llama3.2": (
        "llama3", None, False, "[get_user_info(user_id=7890, special='black')]", "", "",
        [("get_user_info", {"user_id": 7890, "special": "black"})],
    ),
    "llama4": (
        "llama4", None, False,
        '<|python_start|>[get_weather(city="San Francisco"), get_weather(city="Seattle")]'
        "<|python_end|>",
        "", "",
        [("get_weather", {"city": "San Francisco"}), ("get_weather", {"city": "Seattle"})],
    ),
    # The chat templates of Mistral Nemo and Ministral 3.
    "mistral": (
        "mistral", None, False,
        '[TOOL_CALLS][{"name": "get_current_weather", "arguments": {"location": "Paris, France", '
        '"format": "celsius"}, "id": "VvvODy9mT"}]',
        "", "",
        [("get_current_weather", {"location": "Paris, France", "format": "celsius"})],
    ),
    "ministral3": (
        "mistral", BRACKETS, False,
        "[THINK]Two cities.[/THINK]Looking.[TOOL_CALLS]get_weather[ARGS]"
        '{"city": "Paris"}[TOOL_CALLS]get_weather[ARGS]{"city": "Lyon"}',
        "Two cities.", "Looking.",
        [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Lyon"})],
    ),
    # The wire format of ERNIE-4.5-21B-A3B-Thinking, as its makers' server reads it.
    "ernie": (
        "ernie-thinking", THINK, True,
        "hm\n</think>\n\n\n<response>\nParis is sunny.\n</response>\n", "hm", "Paris is sunny.", [],
    ),
    "ernie call": (
        "ernie-thinking", THINK, True,
        'hm\n</think>\n\n\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "北京"}}\n'
        "</tool_call>\n",
        "hm", "", [("get_weather", {"city": "北京"})],
    ),
    # The model card of SmolLM2-1.7B-Instruct.
    "smollm2": (
        "hermes", None, False,
        '<tool_call>[{"name": "get_random_number_between", "arguments": {"min": 1, "max": 300}}]'
        "</tool_call>",
        "", "", [("get_random_number_between", {"min": 1, "max": 300})],
    ),
}  # fmt: skip


def summary(events: list[Event]) -> tuple[str, str, list[Any]]:
    """Thinking, content, and the calls with their arguments as values."""
    reasoning = "".join(one.text for one in events if isinstance(one, ReasoningDelta))
    content = "".join(one.text for one in events if isinstance(one, ContentDelta))
    calls = joined_calls(one for one in events if isinstance(one, CallEvent))
    assert all(call.error is None for call in calls), calls
    return reasoning, content, [(call.name, json.loads(call.arguments)) for call in calls]


@pytest.mark.parametrize("name", EXAMPLES)
def test_calls_are_read_as_their_makers_write_them(name: str) -> None:
    row, thinking, opened, text, reasoning, content, calls = EXAMPLES[name]
    offered: dict[str, Any] = {call: {} for call, _ in calls} or {"get_weather": {}}
    if name == "qwen3-coder":
        offered["square_the_number"] = {"properties": {"input_num": {"type": "integer"}}}
    this = family(row, thinking) if thinking else family(row)
    events = read(this, [text], opened=opened, tools=offered)
    assert summary(events) == (reasoning, content, calls)
    assert read(this, text, opened=opened, tools=offered) == events


@pytest.mark.parametrize("name", EXAMPLES)
def test_without_tools_nothing_is_called_and_nothing_is_lost(name: str) -> None:
    row, thinking, opened, text, _, _, calls = EXAMPLES[name]
    this = family(row, thinking) if thinking else family(row)
    events = read(this, text, opened=opened, tools=None)
    assert all(isinstance(event, ReasoningDelta | ContentDelta) for event in events)
    shown = "".join(event.text for event in events if isinstance(event, ContentDelta))
    assert all(call in shown for call, _ in calls)


def test_ids_are_the_models_own_where_it_gives_them() -> None:
    text = "[TOOL_CALLS]now[CALL_ID]abcdefghi[ARGS]{}[TOOL_CALLS]now[ARGS]{}"
    assert read(family("mistral"), text) == [
        ToolCallStart(0, "abcdefghi", "now"), ArgumentsDelta(0, "{}"), ToolCallEnd(0),
        ToolCallStart(1, "call0", "now"), ArgumentsDelta(1, "{}"), ToolCallEnd(1),
    ]  # fmt: skip
