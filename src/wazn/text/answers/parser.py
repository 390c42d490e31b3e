"""Takes an answer apart while it is written, by the formats of the model's family.

However the answer is cut into pieces, the events are the same once neighbouring texts are joined.
A part of a marker is never emitted, and no text is lost: what breaks a format is content, or a
call that ends with an error. Knows nothing of tokens beyond the text of markers.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Mapping
from os import urandom
from typing import Any

from wazn.text.answers.events import Event
from wazn.text.answers.harmony import read_harmony
from wazn.text.answers.source import Reading, Source
from wazn.text.answers.thinking import read_thinking
from wazn.text.answers.writer import AnswerWriter, NoCall
from wazn.text.families import Family

_LETTERS = string.ascii_letters + string.digits


def new_call_id() -> str:
    """Nine random letters and digits: the only form that Mistral's templates accept."""
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in urandom(9))


class AnswerParser:
    """Reads one answer."""

    def __init__(
        self,
        family: Family,
        *,
        opened: bool = False,
        tools: Mapping[str, Mapping[str, Any]] | None = None,
        tokens: Collection[str] = (),
        new_id: Callable[[], str] = new_call_id,
    ) -> None:
        """``opened``: the prompt ended inside the thinking. ``tools``: name → JSON schema of the
        parameters; without any, calls are not looked for. ``tokens``: the family's markers that are
        single tokens of the vocabulary, and are recognised as such only.
        """
        self._source = Source(tokens)
        self._answer = AnswerWriter(self._source, tools or {}, new_id)
        self._answer.holds_spaces = bool(tools or family.answer_tags)
        self._reading = _read_answer(self._source, self._answer, family, opened)
        self._advance()

    def push(self, text: str, *, is_token: bool = False) -> list[Event]:
        """What the next text settles; ``is_token``: it is the text of one marker token."""
        self._source.feed(text, is_token=is_token)
        return self._advance()

    def finish(self) -> list[Event]:
        """What was still open when the answer ended."""
        self._source.end()
        return self._advance()

    def _advance(self) -> list[Event]:
        next(self._reading, None)
        return self._answer.take()


def _read_answer(
    source: Source, answer: AnswerWriter, family: Family, opened: bool
) -> Reading[None]:
    if family.is_harmony:
        yield from read_harmony(source, answer)
        return
    yield from read_thinking(source, answer, family.thinking, opened)
    calls = family.calls if answer.tools else None
    openers = () if calls is None else calls.openers
    if calls is not None and calls.begins_answer:
        yield from _read_calls(source, answer, family, "")
    while True:
        marker = yield from source.until([*openers, *family.answer_tags], answer.content)
        if marker is None:
            break
        if marker in openers:
            yield from _read_calls(source, answer, family, marker)
        else:
            answer.drop_spaces()
            yield from source.spaces("\r\n")
            source.settle()
    answer.finish()


def _read_calls(source: Source, answer: AnswerWriter, family: Family, opener: str) -> Reading[None]:
    assert family.calls is not None
    try:
        yield from family.calls.read(source, answer, opener)
    except NoCall as failure:
        answer.fail(str(failure))
