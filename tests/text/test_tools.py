"""Tools and calls as clients send them, and as templates want them."""

from typing import Any

import pytest

from wazn.errors import BadRequest
from wazn.text.dialect import Dialect
from wazn.text.messages import check_messages
from wazn.text.tools import MAX_TOOLS, check_tools, schemas_of

CLOCK = {"type": "function", "function": {"name": "clock"}}


def test_what_a_tool_leaves_out_is_empty() -> None:
    checked = check_tools([CLOCK])
    nothing = {"type": "object", "properties": {}}
    function = {"name": "clock", "description": "", "parameters": nothing}
    assert checked == [{"type": "function", "function": function}]
    assert schemas_of(checked) == {"clock": nothing}
    assert (check_tools(None), check_tools([]), schemas_of(None)) == (None, [], {})


def test_other_fields_of_a_tool_are_passed_on() -> None:
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    assert check_tools([{"function": function}]) == [{"type": "function", "function": function}]


@pytest.mark.parametrize(
    ("tools", "named"),
    [
        ("clock", "tools is a str; it must be a list"),
        ([CLOCK] * (MAX_TOOLS + 1), f"has {MAX_TOOLS + 1} entries; at most {MAX_TOOLS}"),
        ([CLOCK, CLOCK], r"tools\[1\].function.name is 'clock', which another tool has"),
        ([7], r"tools\[0\] has the type None; only functions"),
        ([{"type": "web_search"}], r"tools\[0\] has the type 'web_search'"),
        ([{"type": "function"}], r"tools\[0\].function is missing"),
        ([{"type": "function", "function": {"name": "a b"}}], r"name is 'a b'; it must be"),
        ([{"type": "function", "function": {"name": 3}}], "name is 3; it must be"),
        ([{"function": {"name": "f", "parameters": []}}], "parameters is no object"),
        ([{"function": {"name": "f", "description": 1}}], "description is no text"),
    ],
)
def test_a_malformed_tool_is_refused_by_name(tools: Any, named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        check_tools(tools)


def call(arguments: object) -> dict[str, Any]:
    function = {"name": "clock", "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": function}]}


@pytest.mark.parametrize("arguments", ['{"zone": "UTC"}', {"zone": "UTC"}])
def test_arguments_may_be_an_object_or_its_text(arguments: object) -> None:
    [message] = check_messages([call(arguments)])
    function = {"name": "clock", "arguments": {"zone": "UTC"}}
    assert message["tool_calls"] == [{"id": "1", "type": "function", "function": function}]


@pytest.mark.parametrize(
    ("arguments", "named"), [("{", "is no JSON"), ("[1]", "must be a JSON object"), (7, "object")]
)
def test_arguments_that_are_no_object_are_refused(arguments: object, named: str) -> None:
    with pytest.raises(BadRequest, match=rf"messages\[0\].tool_calls\[0\].*{named}"):
        check_messages([call(arguments)])


def test_no_calls_are_the_same_as_none() -> None:
    nothing: list[Any] = [None, []]
    for calls in nothing:
        [message] = check_messages([{"role": "assistant", "content": "a", "tool_calls": calls}])
        assert message == {"role": "assistant", "content": "a"}
    with pytest.raises(BadRequest, match="must be a list of calls"):
        check_messages([{"role": "assistant", "content": "a", "tool_calls": 7}])


@pytest.mark.parametrize(
    ("source", "spoken"),
    [
        ("{{ call.arguments | tojson }}", {"content": "", "reasoning_content": "r"}),
        ("{{ call['arguments'] + '\\n' }}",
         {"content": "", "reasoning_content": "r", "arguments": '{"zone": "ü"}'}),
        ("{% if message.content is none %}", {"content": None, "reasoning_content": "r"}),
        ('{% if "thinking" in message %}{{ message.thinking }}', {"content": "", "thinking": "r"}),
    ],
)  # fmt: skip
def test_messages_are_put_into_the_templates_dialect(source: str, spoken: dict[str, Any]) -> None:
    arguments = spoken.pop("arguments", {"zone": "ü"})
    message = {**call({"zone": "ü"}), "reasoning_content": "r"}
    [checked] = check_messages([message])
    said = Dialect.of(source).spoken(checked)
    assert said.pop("tool_calls")[0]["function"]["arguments"] == arguments
    assert said == {"role": "assistant", **spoken}
