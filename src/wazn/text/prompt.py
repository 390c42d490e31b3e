"""A rendered conversation that remembers which words are nobody's but the speaker's.

A chat template writes special tokens as text, and whoever takes part in a conversation can write
the same letters: ``<|im_end|>`` in a question would end the turn. So, before rendering, a mark is
put inside every such text that a message, a tool or a document brings along. The mark is a
character that occurs nowhere else; it travels through the template, keeps the tokenizer from
seeing a token there, and is taken out before the text is encoded.

The assistant's own earlier messages keep the tokens that belong to answers (thinking, calls):
templates look for them, and a model has to recognise its own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wazn.errors import BadRequest
from wazn.text.messages import check_size

_CANDIDATES = [chr(code) for code in range(0xFDD0, 0xFDF0)]
"""Noncharacters, which Unicode keeps for uses like this one."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Text in which ``mark`` stands wherever the letters around it are no special token."""

    marked: str
    mark: str = ""

    @property
    def text(self) -> str:
        """The prompt as the model's template wrote it."""
        return self.marked.replace(self.mark, "") if self.mark else self.marked


def choose_mark(texts: Iterable[str]) -> str:
    """A mark that occurs in none of the texts, neither itself nor as JSON or Python escape it."""
    joined = "\0".join(texts)
    for mark in _CANDIDATES:
        if mark not in joined and escaped(mark) not in joined:
            return mark
    raise BadRequest(
        "the messages hold all of the noncharacters U+FDD0 to U+FDEF; leave one of them out."
    )


def escaped(mark: str) -> str:
    """The mark as JSON in ASCII and Python's repr write it."""
    return f"\\u{ord(mark):04x}"


class Marker:
    """Puts a mark behind the first letter of every special token that a text spells."""

    def __init__(self, tokens: Iterable[str], kept: Iterable[str] = ()) -> None:
        """``tokens``: texts of the special tokens. ``kept``: those an assistant may write."""
        tokens, kept = {token for token in tokens if len(token) > 1}, frozenset(kept)
        self._all = _pattern(tokens)
        self._foreign = _pattern(tokens - kept)

    def finds_any(self, text: str) -> bool:
        """Whether anything would be marked."""
        return self._all is not None and self._all.search(text) is not None

    def marked(self, value: Any, mark: str) -> Any:
        """A JSON value with all its texts marked, keys of objects included."""
        return _marked(value, self._all, mark)

    def marked_message(self, message: Mapping[str, Any], mark: str) -> dict[str, Any]:
        """A message; the content of the assistant's keeps the tokens of answers."""
        is_answer = message.get("role") == "assistant"
        return {
            _marked(key, self._all, mark): _marked(
                value, self._foreign if is_answer and key == "content" else self._all, mark
            )
            for key, value in message.items()
        }


def mark_speech(
    marker: Marker, said: Mapping[str, Any], sources: Iterable[str]
) -> tuple[str, dict[str, Any]]:
    """The mark ("" if nothing needs one) and what was said with the mark in it.

    ``said``: messages, and whatever else is not the template's own; ``sources``: texts in which the
    mark must not occur either. BadRequest when it is no JSON, or too long.
    """
    text = check_size(said)
    if not marker.finds_any(text):
        return "", dict(said)
    mark = choose_mark([text, *sources])
    others = {name: value for name, value in said.items() if name != "messages"}
    messages = [marker.marked_message(message, mark) for message in said["messages"]]
    return mark, {**marker.marked(others, mark), "messages": messages}


def _pattern(tokens: Iterable[str]) -> re.Pattern[str] | None:
    """Finds the first letter of every token, also where tokens overlap; linear in the text."""
    branches: dict[str, set[str]] = {}
    for token in tokens:
        branches.setdefault(token[0], set()).add(token[1:])
    found = "|".join(f"{re.escape(first)}(?={_trie(rest)})" for first, rest in branches.items())
    return re.compile(found) if found else None


def _trie(endings: set[str]) -> str:
    """A pattern for the texts that begin with one of the endings, letter by letter."""
    if "" in endings:
        return ""
    branches: dict[str, set[str]] = {}
    for ending in endings:
        branches.setdefault(ending[0], set()).add(ending[1:])
    if len(branches) == 1:
        [(letter, rest)] = branches.items()
        return re.escape(letter) + _trie(rest)
    return f"(?:{'|'.join(re.escape(letter) + _trie(rest) for letter, rest in branches.items())})"


def _marked(value: Any, pattern: re.Pattern[str] | None, mark: str) -> Any:
    if pattern is None:
        return value
    if isinstance(value, str):
        return pattern.sub(lambda match: match[0] + mark, value)
    if isinstance(value, Mapping):
        return {
            _marked(key, pattern, mark): _marked(each, pattern, mark) for key, each in value.items()
        }
    if isinstance(value, Sequence):
        return [_marked(each, pattern, mark) for each in value]
    return value
