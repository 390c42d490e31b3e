"""JSON inside an answer, read as it arrives; the value itself is checked when it is complete.

Finds where a value ends and nothing more, so an argument of any size is handed on piece by piece.
"""

from __future__ import annotations

import json

from wazn.text.answers.source import Reading, Sink, Source
from wazn.text.answers.writer import NoCall

CUT = "the answer ended inside the call."


def read_json(source: Source, sink: Sink) -> Reading[None]:
    """Hands on the text of one value; NoCall if it breaks off.

    A value ends with its last bracket or quote; a number or a word before anything that cannot
    belong to it.
    """
    yield from source.spaces()
    first = yield from source.peek()
    if not first:
        raise NoCall(CUT)
    if first not in '{["':
        yield from _read_word(source, sink)
        return
    scanner = _Scanner()
    while not scanner.is_complete:
        text = yield from source.some(source.tokens)
        if not text:
            raise NoCall(CUT)
        length = scanner.length_of(text)
        source.back(text[length:])
        sink(text[:length])


def read_string(source: Source) -> Reading[str]:
    """A string's value; NoCall if there is something else."""
    yield from source.spaces()
    if (yield from source.peek()) != '"':
        raise NoCall("a name in quotes is missing.")
    pieces: list[str] = []
    yield from read_json(source, pieces.append)
    try:
        return str(json.loads("".join(pieces)))
    except ValueError as error:
        raise NoCall(f"a name is no JSON ({error}).") from None


def read_sign(source: Source, signs: str) -> Reading[str]:
    """One of the signs, after white space; NoCall if there is another one."""
    yield from source.spaces()
    sign = yield from source.peek()
    if not sign:
        raise NoCall(CUT)
    if sign not in signs:
        raise NoCall(f"{sign!r} stands where one of {signs} belongs.")
    yield from source.literal(sign)
    return sign


class _Scanner:
    """Counts brackets outside strings; ``is_complete`` after the last one."""

    def __init__(self) -> None:
        self.is_complete = False
        self._depth = 0
        self._is_in_string = False
        self._is_escaped = False

    def length_of(self, text: str) -> int:
        """How much of the text belongs to the value."""
        for position, letter in enumerate(text):
            self._take(letter)
            if self.is_complete:
                return position + 1
        return len(text)

    def _take(self, letter: str) -> None:
        if self._is_in_string:
            if self._is_escaped:
                self._is_escaped = False
            elif letter == "\\":
                self._is_escaped = True
            elif letter == '"':
                self._is_in_string = False
                self.is_complete = self._depth == 0
        elif letter == '"':
            self._is_in_string = True
        elif letter in "{[":
            self._depth += 1
        elif letter in "}]":
            self._depth -= 1
            self.is_complete = self._depth <= 0


def _read_word(source: Source, sink: Sink) -> Reading[None]:
    while True:
        text = yield from source.some(source.tokens)
        length = next((at for at, sign in enumerate(text) if sign in ",:}]) \t\r\n"), len(text))
        source.back(text[length:])
        if length:
            sink(text[:length])
        if length < len(text) or not text:
            return
