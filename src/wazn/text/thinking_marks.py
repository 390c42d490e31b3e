"""Thinking in token ids: what begins it, what ends it, and what ends it in the model's place.

Only models whose markers are tokens can be cut short: there is nothing else to count by. Which
text stands around the markers is the family's (``reasoning``, ``answers.harmony``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wazn.text.answers import harmony
from wazn.text.families import Family
from wazn.text.reasoning import ReasoningStyle
from wazn.text.tokenizer import Tokenizer

_ANALYSIS = f"{harmony.CHANNEL}analysis{harmony.MESSAGE}"
_NEXT = f"{harmony.END}{harmony.START}assistant"
_FINAL = f"{_NEXT}{harmony.CHANNEL}final{harmony.MESSAGE}"


@dataclass(frozen=True, slots=True)
class ThinkingMarks:
    """The ids of one model.

    ``opening`` begins thinking, any of ``closing`` ends it. ``line_break`` and then ``ending`` are
    what a family writes where it has thought enough. ``ending_with_tools`` leaves it to the model
    whether it calls or answers. ``comes_first``: thinking only stands where the answer begins.
    """

    tokenizer: Tokenizer
    opening: tuple[int, ...]
    closing: frozenset[int]
    line_break: tuple[int, ...]
    ending: tuple[int, ...]
    ending_with_tools: tuple[int, ...]
    comes_first: bool

    def is_blank(self, token_id: int) -> bool:
        """Whether a token is white space only, which may stand before the thinking."""
        return self.tokenizer.token_bytes(token_id).isspace()

    def ends_line(self, token_id: int) -> bool:
        """Whether the line is already ended by this token."""
        return self.tokenizer.token_bytes(token_id).endswith(b"\n")


def thinking_marks(
    family: Family, tokenizer: Tokenizer | None, template: str, vocab_size: int
) -> ThinkingMarks | None:
    """The marks of a model with this chat template; None if no tokens mark its thinking.

    ``vocab_size``: ids that the model knows; a tokenizer may have more.
    """
    if tokenizer is None:
        return None
    if family.is_harmony:
        marks = _harmony_marks(tokenizer)
    else:
        marks = _tag_marks(family.thinking, tokenizer, template)
    if marks is None or max((*marks.line_break, *marks.ending)) >= vocab_size:
        return None
    return marks


def _tag_marks(style: ReasoningStyle, tokenizer: Tokenizer, template: str) -> ThinkingMarks | None:
    opening, closing = (tokenizer.added_id(marker) for marker in (style.open, style.close))
    if opening is None or closing is None:
        return None
    before, after = _breaks(style, template)
    # Encoded as one text, as a prompt would be: some vocabularies put a space where a text begins.
    ids = tokenizer.encode(f"{style.open}{before}{style.close}{after}")
    place = ids.index(closing)
    return ThinkingMarks(
        tokenizer=tokenizer,
        opening=(opening,),
        closing=frozenset({closing}),
        line_break=tuple(ids[ids.index(opening) + 1 : place]),
        ending=tuple(ids[place:]),
        ending_with_tools=tuple(ids[place:]),
        comes_first=True,
    )


def _breaks(style: ReasoningStyle, template: str) -> tuple[str, str]:
    """The lines a style ends around its markers; DeepSeek from V3.1 on has the tags without them.

    A template that writes ``<think>`` itself shows whether a line ends behind it.
    """
    is_written = style.open in template
    has_line = re.search(rf"{re.escape(style.open)}(\\n|\n)", template) is not None
    return ("", "") if is_written and not has_line else style.breaks


def _harmony_marks(tokenizer: Tokenizer) -> ThinkingMarks | None:
    markers = tokenizer.ids_of(harmony.MARKERS)
    if not {harmony.START, harmony.CHANNEL, harmony.MESSAGE, harmony.END} <= {*markers.values()}:
        return None
    ends = (harmony.END, harmony.CALL, harmony.RETURN, harmony.START)
    return ThinkingMarks(
        tokenizer=tokenizer,
        opening=tuple(tokenizer.encode(_ANALYSIS)),
        closing=frozenset(id for id, text in markers.items() if text in ends),
        line_break=(),
        ending=tuple(tokenizer.encode(_FINAL)),
        ending_with_tools=tuple(tokenizer.encode(_NEXT)),
        comes_first=False,
    )
