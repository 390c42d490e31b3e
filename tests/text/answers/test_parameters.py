"""Values without a type, cast by a tool's JSON schema."""

import json
from typing import Any

import pytest

from tests.text.answers.reading import family, read
from wazn.text.answers.events import ArgumentsDelta, ToolCallEnd
from wazn.text.answers.parameters import MAX_VALUE_CHARACTERS, cast, types_of

LONG = "['" + "x" * MAX_VALUE_CHARACTERS + "']"


@pytest.mark.parametrize(
    ("text", "types", "value"),
    [
        ("3", "integer", 3), (" 3\n", "integer", 3), ("3.0", "integer", 3),
        ("3.5", "integer", "3.5"),
        ("3.5", "number", 3.5), ("3", "number", 3), ("1e999", "number", "1e999"),
        ("NaN", "number", "NaN"), ("three", "number", "three"), ("true", "boolean", True),
        ("False", "boolean", False), ("1", "boolean", "1"), ("true", "integer", "true"),
        ("null", "integer null", None), ("None", "string null", None), ("null", "string", "null"),
        ('{"a": [1]}', "object", {"a": [1]}), ("[1, 2]", "array", [1, 2]), ("[1]", "object", "[1]"),
        ("['a', 'b']", "array", ["a", "b"]), ("{'a': True}", "object", {"a": True}),
        ("{1: {2}}", "object", "{1: {2}}"), ("[" * 9000, "array", "[" * 9000),
        (LONG, "array", LONG),
        ("__import__('os')", "object", "__import__('os')"), ("5", "integer string", 5),
        ("five", "integer string", "five"), ("", "integer", ""),
    ],
)  # fmt: skip
def test_a_value_becomes_what_its_schema_says_or_stays_text(
    text: str, types: str, value: Any
) -> None:
    result = cast(text, frozenset(types.split()))
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        (None, "string"), ({}, "string"), ({"type": "integer"}, "integer"),
        ({"type": ["integer", "null"]}, "integer null"), ({"enum": ["a", "b"]}, "string"),
        ({"enum": [1, None, True]}, "integer null boolean"), ({"type": 7}, "string"),
        ({"anyOf": [{"type": "integer"}, {"type": "array"}]}, "integer array"),
        ({"type": "number", "nullable": True}, "number null"), ({"oneOf": [{}]}, "string"),
    ],
)  # fmt: skip
def test_a_schema_admits_these_types(schema: object, types: str) -> None:
    assert types_of(schema) == frozenset(types.split())


def test_text_that_has_to_be_escaped_is_escaped() -> None:
    text = 'He said "no"\\\n\tل ‏\u2028 {"a": 1}'
    value = f"<parameter=city>\n{text}\n</parameter>\n"
    call = f"<tool_call>\n<function=get_weather>\n{value}</function>"
    for pieces in ([call], call):
        events = read(family("qwen-tags"), [*pieces, "\n</tool_call>"])
        assert isinstance(events[1], ArgumentsDelta) and events[2] == ToolCallEnd(0)
        assert json.loads(events[1].text) == {"city": text}
