"""From the tokens of one completion to its text: characters, stop strings, thinking and answer.

Three filters in a row, each of which may hold text back until it is certain: whole characters
(``StreamDecoder``), stop strings (``StopStrings``), the thinking part (``ReasoningSplitter``).
Without a tokenizer there is no text and all of it stays empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wazn.engine.params import SamplingParams
from wazn.engine.stop_strings import StopStrings

if TYPE_CHECKING:
    from wazn.text.reasoning import Kind, ReasoningSplitter
    from wazn.text.stream_decoder import StreamDecoder


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that became certain."""

    text: str = ""
    reasoning: str = ""


class TextWriter:
    """Writes the text of one completion; ``is_stopped`` once a stop string has ended it."""

    def __init__(
        self,
        params: SamplingParams,
        decoder: StreamDecoder | None,
        splitter: ReasoningSplitter | None = None,
    ) -> None:
        self._decoder = decoder
        self._splitter = splitter
        self._stops = StopStrings(params.stop or ())
        self._tokens_unsearched = params.min_tokens
        self._num_tokens = 0
        self.reasoning_tokens = 0
        """Tokens up to the last that brought thinking text; thinking only comes first."""

    @property
    def is_stopped(self) -> bool:
        return self._stops.is_stopped

    def push(self, token_id: int) -> Piece:
        """The text that the next token makes certain."""
        text = "" if self._decoder is None else self._decoder.push(token_id)
        if self._tokens_unsearched > 0:
            self._tokens_unsearched -= 1
        else:
            text = self._stops.push(text)
        self._num_tokens += 1
        if self._splitter is None or not text:
            return Piece(text)
        return self._joined(self._splitter.push(text))

    def finish(self) -> Piece:
        """What was still held back, now that no token follows."""
        text = ""
        if self._decoder is not None and not self.is_stopped:
            text = self._stops.push(self._decoder.finish()) + self._stops.finish()
        if self._splitter is None:
            return Piece(text)
        return self._joined(self._splitter.push(text) + self._splitter.finish())

    def _joined(self, parts: list[tuple[Kind, str]]) -> Piece:
        piece = Piece(
            text="".join(text for kind, text in parts if kind == "text"),
            reasoning="".join(text for kind, text in parts if kind == "reasoning"),
        )
        if piece.reasoning:
            self.reasoning_tokens = self._num_tokens
        return piece
