"""The answers of gpt-oss: messages with a channel and perhaps a recipient (OpenAI's harmony).

::

    <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…

``analysis`` is thinking; a message to ``functions.NAME`` is a call whose body is the arguments;
``final``, and ``commentary`` to nobody, are for the user. The first header begins in the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from wazn.text.answers.source import Reading, Source
from wazn.text.answers.writer import AnswerWriter

START, CHANNEL, MESSAGE, CONSTRAIN = "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>"
END, CALL, RETURN = "<|end|>", "<|call|>", "<|return|>"
MARKERS = (START, CHANNEL, MESSAGE, CONSTRAIN, END, CALL, RETURN)

_BREAK = "\n\n"  # between two messages that are shown as one text


def read_harmony(source: Source, answer: AnswerWriter) -> Reading[None]:
    """All messages of an answer."""
    reasoning = _Messages(answer.reasoning)
    content = _Messages(answer.content)
    while True:
        header = yield from _read_header(source, answer)
        if header is None:
            break
        channel = re.search(r"<\|channel\|>\s*(\w+)", header)
        recipient = re.search(r"\bto=([^\s<]+)", header)
        if recipient is not None and answer.tools:
            yield from _read_call(source, answer, recipient[1].removeprefix("functions."))
            continue
        is_thinking = channel is not None and channel[1] == "analysis"
        messages = reasoning if is_thinking else content
        if recipient is not None:
            messages.begin()
            messages.write(header)  # a call nobody asked for is shown as it is
        source.settle()
        messages.begin()
        yield from source.until([END, CALL, RETURN, START], messages.write)
        source.settle()
    answer.finish()


def _read_header(source: Source, answer: AnswerWriter) -> Reading[str | None]:
    """A header up to its message; "" for a message without one, None at the end of the answer."""
    yield from source.literal(START)
    for beginning in (CHANNEL, "assistant", " to=", CONSTRAIN, MESSAGE):
        if (yield from source.literal(beginning)):
            break
    else:
        return None if (yield from source.is_at_end()) else ""
    if beginning == MESSAGE:
        return ""
    pieces = [beginning]
    if (yield from source.until([MESSAGE, "\n"], pieces.append)) == MESSAGE:
        return "".join(pieces)
    answer.fail("a message's header does not end.")
    return ""


def _read_call(source: Source, answer: AnswerWriter, name: str) -> Reading[None]:
    """A call that ends with its message, and so also where the answer ends."""
    answer.start(name)
    yield from source.until([END, CALL, RETURN, START], answer.arguments)
    answer.end()


class _Messages:
    """The messages of one kind, shown one after the other."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._has_text = False
        self._breaks = False

    def begin(self) -> None:
        self._breaks = self._has_text

    def write(self, text: str) -> None:
        self._write((_BREAK if self._breaks else "") + text)
        self._breaks = False
        self._has_text = True
