"""Checks the messages of a conversation before they reach a chat template.

A message is a mapping with a ``role`` and ``content``: a string, or a list of text parts, which
are joined by line breaks. The arguments of ``tool_calls`` become objects. Other fields (name,
tool_call_id …) are passed on. Which roles exist is the template's business.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from wazn.errors import BadRequest
from wazn.text.tools import check_calls

Message = Mapping[str, Any]

MAX_CHARACTERS = 8_000_000
"""Messages, tools and variables as JSON: two million tokens of English."""


def check_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages with their content as plain strings; BadRequest names what is wrong."""
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise BadRequest(
            f"messages is a {type(messages).__name__}; it must be a list of "
            '{"role": …, "content": …}.'
        )
    if not messages:
        raise BadRequest("messages is empty; a conversation needs at least one message.")
    return [_checked(message, f"messages[{index}]") for index, message in enumerate(messages)]


def check_size(values: Mapping[str, Any]) -> str:
    """A template's variables as JSON; BadRequest when they are none, invalid text, or too long."""
    try:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest("the messages hold half of a surrogate pair; send valid text.") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the messages or template variables are no JSON: {error}.") from None
    if len(text) > MAX_CHARACTERS:
        raise BadRequest(
            f"messages, tools and template variables have {len(text)} characters; "
            f"the limit is {MAX_CHARACTERS}."
        )
    return text


def _checked(message: Message, name: str) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise BadRequest(f"{name} is a {type(message).__name__}; it must be an object.")
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise BadRequest(f"{name}.role is {role!r:.60}; it must be a text such as 'user'.")
    content = message.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str):
        content = "\n".join(
            _part(part, f"{name}.content[{index}]") for index, part in enumerate(content)
        )
    elif content is not None and not isinstance(content, str):
        raise BadRequest(
            f"{name}.content is a {type(content).__name__}; it must be a text or a list of parts."
        )
    rest = {key: value for key, value in message.items() if key != "tool_calls"}
    calls = message.get("tool_calls")
    if content is None and calls is None:
        raise BadRequest(f"{name}.content is missing.")
    checked = {**rest, "content": content}
    return checked | {"tool_calls": check_calls(calls, f"{name}.tool_calls")} if calls else checked


def _part(part: object, name: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    text = part.get("text") if isinstance(part, Mapping) else None
    if kind != "text":
        raise BadRequest(f"{name} has the type {kind!r:.60}; only text parts are supported.")
    if not isinstance(text, str):
        raise BadRequest(f"{name}.text is a {type(text).__name__}; it must be a text.")
    return text
