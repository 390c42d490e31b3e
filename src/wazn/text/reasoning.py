"""The thinking part of a reasoning model's output, told apart from the answer.

Each style is a pair of markers in the text. The splitter gets the text in pieces of any size and
gives the same result however it is cut: what could be the beginning of a marker waits for the next
piece. It works on text, so a marker may be one token or several. Knows nothing of tokens and
models beyond the table.
"""

from dataclasses import dataclass
from typing import Literal

from wazn.text.tokenizer import Tokenizer

MAX_LEADING_SPACE = 256
"""Whitespace before the opening marker; after more than this it is taken for the answer's own."""

Kind = Literal["reasoning", "text"]


@dataclass(frozen=True, slots=True)
class ReasoningStyle:
    """How one group of families marks its thinking; no markers, no thinking."""

    name: str
    open: str = ""
    close: str = ""

    def is_opened_by(self, prompt: str) -> bool:
        """Whether the prompt already ends inside the thinking part."""
        return bool(self.open) and prompt.rstrip().endswith(self.open)


THINK = ReasoningStyle("think", "<think>", "</think>")  # Qwen3, DeepSeek R1 and later, QwQ, ERNIE
SEED = ReasoningStyle("seed", "<seed:think>", "</seed:think>")  # Seed-OSS
NONE = ReasoningStyle("none")
STYLES = (SEED, THINK, NONE)


def detect_style(tokenizer: Tokenizer | None, template: str = "") -> ReasoningStyle:
    """The style whose markers are tokens of the vocabulary or stand in the chat template."""
    for style in STYLES:
        if tokenizer is not None and tokenizer.added_id(style.close) is not None:
            return style
        if style.close and style.close in template:
            return style
    return NONE


class ReasoningSplitter:
    """Splits one answer; ``opened`` tells that the prompt ended inside the thinking part.

    The thinking loses the whitespace around it, the answer the line breaks before it. Thinking is
    only looked for where the answer begins: a marker further on is part of the text.
    """

    def __init__(self, style: ReasoningStyle, opened: bool) -> None:
        self._style = style
        self._opened = opened
        self._state: Literal["start", "reasoning", "gap", "text"] = (
            "start" if style.open else "text"
        )
        self._held = ""  # may be the beginning of a marker
        self._spaces: list[str] = []  # whitespace that more thinking must follow to count

    def push(self, text: str) -> list[tuple[Kind, str]]:
        """The parts that the next piece of text settles, in order; none of them is empty."""
        return self._advance(text, is_last=False)

    def finish(self) -> list[tuple[Kind, str]]:
        """What was still held when the text ended."""
        return self._advance("", is_last=True)

    def _advance(self, piece: str, *, is_last: bool) -> list[tuple[Kind, str]]:
        text = self._held + piece
        self._held = ""
        reasoning = ""
        if self._state == "start":
            text = self._after_opening(text, is_last=is_last)
        if self._state == "reasoning":
            reasoning, text = self._until_closing(text, is_last=is_last)
        if self._state == "gap":
            text = text.lstrip("\r\n")
            self._state = "text" if text else "gap"
        parts: tuple[tuple[Kind, str], ...] = (("reasoning", reasoning), ("text", text))
        return [part for part in parts if part[1]]

    def _after_opening(self, text: str, *, is_last: bool) -> str:
        """What follows the opening marker; all of the text if there is none, nothing if unclear."""
        rest = text.lstrip()
        if len(text) - len(rest) <= MAX_LEADING_SPACE:
            if rest.startswith(self._style.open):
                self._state = "reasoning"
                return rest.removeprefix(self._style.open)
            if self._style.open.startswith(rest) and not is_last:
                self._held = text
                return ""
        self._state = "reasoning" if self._opened else "text"
        return text

    def _until_closing(self, text: str, *, is_last: bool) -> tuple[str, str]:
        """Thinking that is settled, and the text after the closing marker."""
        marker = self._style.close
        thinking, found, rest = text.partition(marker)
        if found:
            self._state = "gap"
        elif not is_last:
            length = next(n for n in range(len(marker) - 1, -1, -1) if text.endswith(marker[:n]))
            thinking = text[: len(text) - length]
            self._held = text[len(thinking) :]
        return self._trimmed(thinking), rest

    def _trimmed(self, thinking: str) -> str:
        if self._spaces == []:
            thinking = thinking.lstrip()
        body = thinking.rstrip()
        if not body:
            if thinking:
                self._spaces.append(thinking)
            return ""
        settled = "".join(self._spaces) + body
        self._spaces = [thinking[len(body) :]]
        return settled
