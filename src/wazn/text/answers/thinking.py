"""The thinking part at the beginning of an answer, between a pair of markers.

It loses the white space around it, and the answer the line breaks before it. Thinking is only
looked for where the answer begins: a marker further on is part of the text.
"""

from __future__ import annotations

from wazn.text.answers.source import Reading, Source
from wazn.text.answers.writer import AnswerWriter
from wazn.text.reasoning import ReasoningStyle

MAX_LEADING_SPACE = 256
"""White space before the opening marker; after more than this it is taken for the answer's own."""


def read_thinking(
    source: Source, answer: AnswerWriter, style: ReasoningStyle, opened: bool
) -> Reading[None]:
    """The thinking, if there is any; ``opened``: the prompt ended inside it."""
    if not style.open:
        return
    spaces = yield from source.spaces(limit=MAX_LEADING_SPACE + 1)
    has_marker = len(spaces) <= MAX_LEADING_SPACE and (yield from source.literal(style.open))
    if not has_marker:
        source.back(spaces)
        if not opened:
            return
    if (yield from source.until([style.close], _Trimmed(answer).write)) == style.close:
        yield from source.spaces("\r\n")
    source.settle()


class _Trimmed:
    """Passes thinking on without the white space around it."""

    def __init__(self, answer: AnswerWriter) -> None:
        self._answer = answer
        self._has_begun = False
        self._spaces: list[str] = []  # more thinking must follow for them to count

    def write(self, text: str) -> None:
        if not self._has_begun:
            text = text.lstrip()
        body = text.rstrip()
        if body:
            self._answer.reasoning("".join(self._spaces) + body)
            self._spaces.clear()
            self._has_begun = True
        if text[len(body) :]:
            self._spaces.append(text[len(body) :])
        self._answer.reasoning("")
