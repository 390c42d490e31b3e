"""Calls as JSON objects between tags: ``<tool_call>{"name": …, "arguments": {…}}</tool_call>``.

The format of Hermes 2 Pro, taken over by Qwen 2.5 and 3, ERNIE 4.5 Thinking and SmolLM2, which
puts a list of such objects between the tags. ``read_object`` serves other formats too.
"""

from __future__ import annotations

from wazn.text.answers.json_values import CUT, read_json, read_sign, read_string
from wazn.text.answers.source import Reading, Source
from wazn.text.answers.writer import AnswerWriter, NoCall

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_ARGUMENTS = ("arguments", "parameters")


def read_hermes(source: Source, answer: AnswerWriter, opener: str) -> Reading[None]:
    """Everything after the opening tag."""
    yield from source.spaces()
    if (yield from source.peek()) == "[":
        yield from read_list(source, answer)
    else:
        yield from read_object(source, answer)
    yield from source.spaces()
    if not (yield from source.literal(CLOSE)):
        raise NoCall(f"{CLOSE} is missing.")
    source.settle()


def read_list(source: Source, answer: AnswerWriter) -> Reading[None]:
    """A JSON list of calls."""
    yield from read_sign(source, "[")
    yield from source.spaces()
    if (yield from source.peek()) == "]":
        raise NoCall("the list of calls is empty.")
    while True:
        yield from read_object(source, answer)
        if (yield from read_sign(source, ",]")) == "]":
            source.settle()
            return


def read_object(
    source: Source, answer: AnswerWriter, *, must_be_offered: bool = False
) -> Reading[None]:
    """One call as an object; its arguments are handed on as they come once its name is known.

    ``must_be_offered``: an object that names none of the tools is no call.
    """
    name: str | None = None
    call_id: str | None = None
    held: list[str] = []  # arguments that came before the name
    has_begun = False
    yield from read_sign(source, "{")
    while True:
        key = yield from read_string(source)
        yield from read_sign(source, ":")
        if key == "name" and name is None:
            name = yield from read_string(source)
        elif key == "id" and call_id is None and not has_begun:
            call_id = yield from read_string(source)
        elif key in _ARGUMENTS and not has_begun and not held:
            if name is not None:
                _begin(answer, name, call_id, must_be_offered)
                has_begun = True
            yield from _read_arguments(source, answer, None if has_begun else held)
        elif key == "type" or (key == "id" and has_begun):
            yield from read_json(source, lambda text: None)  # "function", or too late to be told
        else:
            raise NoCall(f"a call has no field {key!r} here.")
        if (yield from read_sign(source, ",}")) == "}":
            break
    if not has_begun:
        _begin(answer, name or "", call_id, must_be_offered)
        answer.arguments("".join(held) or "{}")
    answer.end()


def _begin(answer: AnswerWriter, name: str, call_id: str | None, must_be_offered: bool) -> None:
    if must_be_offered and name not in answer.tools:
        raise NoCall(f"{name!r} is none of the tools.")
    answer.start(name, call_id)


def _read_arguments(source: Source, answer: AnswerWriter, held: list[str] | None) -> Reading[None]:
    """Arguments to the answer, or aside; those that are JSON in a string are taken out of it."""
    yield from source.spaces()
    if (yield from source.peek()) != '"':
        yield from read_json(source, answer.arguments if held is None else held.append)
        return
    text = yield from read_string(source)
    if held is None:
        answer.arguments(text)
    else:
        held.append(text)


def read_remaining_json(source: Source, answer: AnswerWriter) -> Reading[None]:
    """The arguments of a call that has begun, as one JSON object, and its end."""
    yield from source.spaces()
    sign = yield from source.peek()
    if sign != "{":
        raise NoCall(f"{sign!r} stands where the arguments begin." if sign else CUT)
    yield from read_json(source, answer.arguments)
    answer.end()
