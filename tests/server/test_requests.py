"""What a request may say, what is refused by name, and that nothing a client sends is a 500."""

import json
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.serving import Server, ask
from wazn.engine.params import SamplingParams
from wazn.errors import BadRequest
from wazn.server.bodies import MAX_BODY_BYTES
from wazn.server.errors import ErrorBody, RequestRefused, error_body, kind_of
from wazn.server.fields import ignored_header
from wazn.server.schemas import ChatCompletionRequest, parse_chat_completion

MESSAGE = {"role": "user", "content": "hello"}


def parse(lenient: bool = False, **fields: Any) -> tuple[ChatCompletionRequest, list[str]]:
    body = {"model": "m", "messages": [MESSAGE], **fields}
    return parse_chat_completion(json.dumps(body).encode(), lenient=lenient)


def fault(**fields: Any) -> tuple[str, str | None, str]:
    """The message, parameter and code of the error a request deserves."""
    with pytest.raises((BadRequest, RequestRefused)) as caught:
        parse(**fields)[0].sampling_params()
    kind = kind_of(caught.value)
    assert kind.status == 400 and kind.type == "invalid_request_error"
    return str(caught.value), kind.param, kind.code


@pytest.mark.parametrize(
    "field", ["thinking_token_budget", "thinking_budget", "thinking_budget_tokens"]
)
@pytest.mark.parametrize("budget", [0, 512])
def test_a_thinking_budget_has_the_names_that_others_gave_it(field: str, budget: int) -> None:
    given_budget: dict[str, Any] = {field: budget}
    chat, ignored = parse(**given_budget)
    assert chat.sampling_params() == SamplingParams(thinking_budget=budget) and not ignored


def test_equal_thinking_budgets_do_not_contradict() -> None:
    chat, _ = parse(thinking_budget=3, thinking_token_budget=3)
    assert chat.sampling_params().thinking_budget == 3


def test_every_sampling_field_reaches_the_engine() -> None:
    given_fields: dict[str, Any] = dict(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.1,
        typical_p=0.8,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=-0.2,
        seed=7,
        stop=["a", "b"],
        stop_token_ids=[5],
        min_tokens=2,
        ignore_eos=True,
        n=2,
    )
    chat, ignored = parse(
        **given_fields,
        max_tokens=9,
        logit_bias={"3": -100},
        logprobs=True,
        top_logprobs=4,
    )
    assert ignored == []
    assert chat.sampling_params() == SamplingParams(
        **given_fields,
        max_tokens=9,
        logit_bias={3: -100},
        logprobs=4,
    )


def test_null_and_absent_are_the_same() -> None:
    nulls: dict[str, Any] = {name: None for name in ChatCompletionRequest.model_fields}
    nulls |= {"tools": None, "response_format": None, "user": None}
    chat, ignored = parse(**nulls | {"model": "m", "messages": [MESSAGE]})
    assert (chat.sampling_params(), ignored) == (SamplingParams(), [])


def test_a_stop_may_be_a_single_string() -> None:
    assert parse(stop="END")[0].sampling_params().stop == ("END",)


def test_a_developer_message_is_a_system_message() -> None:
    chat, _ = parse(messages=[{"role": "developer", "content": "Be brief."}, MESSAGE])
    assert chat.messages[0].for_template() == {"role": "system", "content": "Be brief."}


def test_earlier_reasoning_is_handed_to_the_template() -> None:
    message = {"role": "assistant", "content": "42", "reasoning_content": "six times seven"}
    assert parse(messages=[message])[0].messages[0].for_template() == message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function"}]),
        ("tool_choice", "auto"),
        ("functions", [{}]),
        ("response_format", {"type": "json_object"}),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy"}),
        ("best_of", 2),
        ("add_generation_prompt", False),
        ("echo", 1),
    ],
)
def test_what_is_not_supported_is_refused_by_name(field: str, value: Any) -> None:
    message, param, code = fault(**{field: value})
    assert message == f"{field} is not supported yet."
    assert (param, code) == (field, "unsupported_parameter")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", []),
        ("tool_choice", "none"),
        ("response_format", {"type": "text"}),
        ("modalities", ["text"]),
        ("best_of", 1),
        ("add_generation_prompt", True),
    ],
)
def test_what_asks_for_nothing_new_is_honoured(field: str, value: Any) -> None:
    assert parse(**{field: value})[1] == []


def test_an_unknown_field_is_refused_by_name_wherever_it_stands() -> None:
    unknown = "unknown_parameter"
    assert fault(temprature=1) == ("temprature is not a known field.", "temprature", unknown)
    assert fault(messages=[MESSAGE | {"x": 1}])[1:] == ("messages[0].x", unknown)
    part = {"type": "text", "text": "a", "cache_control": {}}
    assert fault(messages=[{"role": "user", "content": [part]}])[1:] == (
        "messages[0].content[0].cache_control",
        unknown,
    )
    options = {"include_usage": True, "x": 1}
    assert fault(stream=True, stream_options=options)[1:] == ("stream_options.x", unknown)


def test_a_lenient_server_lists_unknown_fields_instead() -> None:
    part = {"type": "text", "text": "a", "cache_control": {}}
    messages = [{"role": "user", "content": [part]}, MESSAGE | {"x": 1}, MESSAGE | {"x": 2}]
    _, ignored = parse(lenient=True, temprature=1, messages=messages)
    assert ignored == ["temprature", "messages.content.cache_control", "messages.x", "messages.x"]
    with pytest.raises(RequestRefused, match="tools is not supported"):
        parse(lenient=True, tools=[{}])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"content": "hello"}]}, "messages[0].role"),
        ({"messages": [{"role": "wizard", "content": "hello"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "hello"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [MESSAGE | {"tool_calls": [{}]}]}, "messages[0].tool_calls"),
        ({"model": 5}, "model"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"n": 1.0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 10**30}, "max_completion_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"thinking_token_budget": -1}, "thinking_token_budget"),
        ({"thinking_budget": "8"}, "thinking_budget"),
        ({"thinking_budget_tokens": True}, "thinking_budget_tokens"),
        ({"thinking_token_budget": 2**63}, "thinking_token_budget"),
        ({"thinking_budget": 0, "thinking_token_budget": 1}, "thinking_token_budget"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"seed": 2**64}, "seed"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a"] * 65}, "stop"),
        ({"stop_token_ids": [-1]}, "stop_token_ids"),
        ({"logit_bias": {"hello": 1}}, "logit_bias"),
        ({"logit_bias": {"9" * 5000: 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logprobs": 5}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": "yes"}, "stream"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"a b": 1}}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"x": [2**64]}}, "chat_template_kwargs"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_field(fields: dict[str, Any], param: str) -> None:
    message, found, _ = fault(**fields)
    assert found == param
    assert message.startswith(param.partition("[")[0])


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(missing: str) -> None:
    body = {"model": "m", "messages": [MESSAGE]}
    del body[missing]
    with pytest.raises(RequestRefused, match=f"^{missing} is missing"):
        parse_chat_completion(json.dumps(body).encode(), lenient=False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe{}",
        b'{"model": "\\ud800"}',
        b"[" * 100_000,
        b'{"seed": 1' + b"0" * 5000 + b"}",
    ],
)
def test_what_is_not_a_json_object_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_chat_completion(body, lenient=False)
    assert kind_of(caught.value)[::2] == (400, "invalid_json")


def test_a_million_faults_are_refused_at_the_first() -> None:
    num_messages = MAX_BODY_BYTES // 3
    body = b'{"model":"m","messages":[' + b"{}," * num_messages + b"{}]}"
    with pytest.raises(RequestRefused, match=r"^messages\[0\]\.role is missing"):
        parse_chat_completion(body, lenient=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=8), values),
    max_leaves=8,
)
FIELDS = st.sampled_from(sorted({*ChatCompletionRequest.model_fields, "tools", "user", "é\n"}))
MUTATIONS = st.dictionaries(FIELDS, JSON | st.just([MESSAGE]) | st.integers(-1, 3), max_size=3)
BODIES = st.binary(max_size=64) | JSON.map(lambda value: json.dumps(value).encode())


def is_error_object(body: bytes) -> bool:
    error = msgspec.json.decode(body, type=ErrorBody).error
    return bool(error.message and error.type and error.code)


@settings(max_examples=80, deadline=None)
@given(body=BODIES, lenient=st.booleans())
def test_any_bytes_are_a_request_or_an_error_object(body: bytes, lenient: bool) -> None:
    with pytest.raises(RequestRefused) as caught:  # a chance hit on a valid request is impossible
        parse_chat_completion(body, lenient=lenient)
    assert is_error_object(error_body(caught.value))


@settings(max_examples=40, deadline=None)
@given(fields=MUTATIONS)
def test_no_mutation_of_a_request_is_a_server_error(server: Server, fields: dict[str, Any]) -> None:
    body = json.dumps(ask("hello", max_tokens=1) | fields).encode()
    response = server.post(body)
    if response.status_code != 200:
        assert 400 <= response.status_code < 500
        assert is_error_object(response.content)


@settings(max_examples=25, deadline=None)
@given(body=BODIES)
def test_no_body_is_a_server_error(server: Server, body: bytes) -> None:
    response = server.post(body)
    assert response.status_code == 400
    assert is_error_object(response.content)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_is_too_large_is_a_413(server: Server, is_chunked: bool) -> None:
    body = b" " * (MAX_BODY_BYTES + 1)
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    response = server.http.post("/v1/chat/completions", content=pieces if is_chunked else body)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"


def test_ignored_names_cannot_break_the_header() -> None:
    header = ignored_header(["a\r\nset-cookie: x", "é", "a" * 1000, *map(str, range(1000))])
    value = header["x-wazn-ignored"]
    assert value.startswith("a%0D%0Aset-cookie%3A%20x, %C3%A9, aaa")
    assert value.endswith("and 971 more") and len(value) < 1000
    assert httpx.Headers(header)["x-wazn-ignored"] == value
