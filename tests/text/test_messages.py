"""Messages are checked before a template sees them, and the fault is named."""

from typing import Any

import pytest

from wazn.errors import BadRequest
from wazn.text.messages import MAX_CHARACTERS, check_messages, check_size

USER = {"role": "user", "content": "hi"}


def test_text_parts_are_joined_by_line_breaks() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert check_messages([{"role": "user", "content": parts}]) == [
        {"role": "user", "content": "a\nb"}
    ]


CALL = {"id": "1", "type": "function", "function": {"name": "clock", "arguments": {}}}


def test_other_fields_are_passed_on_and_the_callers_message_is_left_alone() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    tool = {"role": "tool", "content": [], "tool_call_id": "1", "name": "clock"}
    assert check_messages((call, tool)) == [call, {**tool, "content": ""}]
    assert tool["content"] == []


@pytest.mark.parametrize(
    ("messages", "named"),
    [
        ([], "messages is empty"),
        ("hi", "messages is a str"),
        (USER, "messages is a dict"),
        (7, "messages is a int"),
        ([USER, "hi"], r"messages\[1\] is a str"),
        ([{"content": "hi"}], r"messages\[0\]\.role is None"),
        ([{"role": "", "content": "hi"}], r"messages\[0\]\.role is ''"),
        ([{"role": 3, "content": "hi"}], r"messages\[0\]\.role is 3"),
        ([{"role": "user"}], r"messages\[0\]\.content is missing"),
        ([{"role": "user", "content": 5}], r"messages\[0\]\.content is a int"),
        ([{"role": "user", "content": {"text": "a"}}], r"messages\[0\]\.content is a dict"),
        ([{"role": "user", "content": ["a"]}], r"content\[0\] has the type None; only text"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            r"messages\[0\]\.content\[0\] has the type 'image_url'; only text",
        ),
        (
            [{"role": "user", "content": [{"type": "text", "text": 1}]}],
            r"messages\[0\]\.content\[0\]\.text is a int",
        ),
    ],
)
def test_a_malformed_message_is_named(messages: Any, named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        check_messages(messages)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("\udc00", "half of a surrogate pair"),
        (float("nan"), "are no JSON"),
        ({1, 2}, "are no JSON"),
        (nested(100_000), "are no JSON"),
        ("x" * MAX_CHARACTERS, f"the limit is {MAX_CHARACTERS}"),
    ],
)
def test_values_that_are_no_json_or_too_long_are_refused(value: Any, named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        check_size({"tools": value})
