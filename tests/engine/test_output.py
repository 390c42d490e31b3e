"""From tokens to thinking, answer and calls, with stop strings in between."""

import json

import pytest

from tests.engine.fake_model import BOS, END_THINK, THINK, FakeModel, FakeTemplate
from tests.engine.serving import engine_of, finish
from wazn.engine.llm import LLM
from wazn.engine.params import SamplingParams
from wazn.engine.request import Increment, Request
from wazn.errors import BadRequest
from wazn.text.answers.events import ToolCall, joined_calls

NOW = b'<tool_call>{"name": "now", "arguments": {"zone": "UTC"}}</tool_call>'


class ToolTemplate(FakeTemplate):
    sources = {"default": "{{ tools }} <tool_call> </think>"}  # noqa: RUF012


@pytest.mark.parametrize("opened", [False, True])
def test_thinking_is_told_apart_in_conversations_only(opened: bool) -> None:
    answer = [*([] if opened else [THINK]), *b"hm\n", END_THINK, *b"\n\nYes"]
    engine = engine_of(script={(1, 2): answer})
    params = SamplingParams(temperature=0)
    engine.submit(Request("chat", [1, 2], params, reasoning_open=opened, is_chat=True))
    engine.submit(Request("raw", [1, 2], params))
    increments = finish(engine)
    chat = [i for i in increments if i.request_id == "chat"]
    assert "".join(i.reasoning for i in chat) == "hm"
    assert "".join(i.text for i in chat) == "Yes"
    raw = "".join(i.text for i in increments if i.request_id == "raw")
    assert raw.endswith("hm\n</think>\n\nYes")
    usage = chat[-1].usage
    assert usage is not None
    assert usage.reasoning_tokens == (2 if opened else 3)  # "hm" and the opening mark
    assert usage.completion_tokens == len(answer) + 1


def answer_with_tools(answer: bytes, tools: bool = True, stop: str = "") -> list[Increment]:
    engine = engine_of(script={(1, 2): [*answer]}, chat_template=ToolTemplate())
    params = SamplingParams(temperature=0, stop=stop or None)
    offered: dict[str, dict[str, object]] = {"now": {}} if tools else {}
    engine.submit(Request("chat", [1, 2], params, is_chat=True, tools=offered))
    return finish(engine)


def test_a_call_comes_as_events_and_ends_as_a_whole() -> None:
    increments = answer_with_tools(b"Let me see.\n" + NOW)
    assert "".join(i.text for i in increments) == "Let me see."
    assert sum(bool(i.calls) for i in increments) > 10, "arguments are streamed"
    [call] = joined_calls(event for i in increments for event in i.calls)
    assert (call.name, json.loads(call.arguments), call.error) == ("now", {"zone": "UTC"}, None)
    assert len(call.id) == 9 and call.id.isalnum()


def test_without_tools_a_call_is_text() -> None:
    increments = answer_with_tools(NOW, tools=False)
    assert "".join(i.text for i in increments) == NOW.decode()
    assert not any(i.calls for i in increments)


def test_a_stop_string_inside_a_call_ends_it_with_an_error() -> None:
    increments = answer_with_tools(NOW, stop="UTC")
    calls = joined_calls(event for i in increments for event in i.calls)
    assert [ToolCall("", call.name, call.arguments, call.error) for call in calls] == [
        ToolCall("", "now", '{"zone": "', "the answer ended inside the call.")
    ]
    assert increments[-1].finish_reason == "stop" and increments[-1].calls


def open_llm(answer: bytes, template: FakeTemplate) -> LLM:
    prompt = (BOS, *b"user:Hi\nassistant:")
    return LLM(FakeModel(script={prompt: [*answer]}, chat_template=template), memory=100_000)


def test_chat_offers_tools_and_returns_calls() -> None:
    with open_llm(b"One moment. " + NOW, ToolTemplate()) as llm:
        greedy = SamplingParams(temperature=0)
        messages = [{"role": "user", "content": "Hi"}]
        tools = [{"type": "function", "function": {"name": "now"}}]
        answer = llm.chat(messages, greedy, tools=tools)
        assert not isinstance(answer, list) and answer.text == "One moment."
        [call] = answer.tool_calls
        assert (call.name, json.loads(call.arguments), call.error) == ("now", {"zone": "UTC"}, None)
        streamed = list(llm.chat(messages, greedy, tools=tools, stream=True))
        [same] = joined_calls(event for part in streamed for event in part.calls)
        assert (same.name, same.arguments) == (call.name, call.arguments)
        plain = llm.chat(messages, greedy)
        assert not isinstance(plain, list) and plain.tool_calls == []
        assert plain.text == "One moment. " + NOW.decode()


def test_tools_are_refused_where_calls_cannot_be_told_from_text() -> None:
    with open_llm(b"", FakeTemplate()) as llm:
        messages = [{"role": "user", "content": "Hi"}]
        with pytest.raises(BadRequest, match="no form of tool call"):
            llm.chat(messages, tools=[{"type": "function", "function": {"name": "now"}}])
        with pytest.raises(BadRequest, match=r"tools\[0\].function.name is 'a b'"):
            llm.chat(messages, tools=[{"type": "function", "function": {"name": "a b"}}])


def test_thinking_is_switched_by_the_name_that_the_template_knows() -> None:
    class Switched(ToolTemplate):
        sources = {"default": "<tool_call> {{ enable_thinking }}"}  # noqa: RUF012

    with open_llm(b"", Switched()) as llm:
        assert llm.thinking_variables(on=False) == {"enable_thinking": False}
    with open_llm(b"", ToolTemplate()) as llm:
        with pytest.raises(BadRequest, match="no switch for thinking"):
            llm.thinking_variables(on=True)
