"""From the tokens of one completion to its text: characters, stop strings, thinking, answer, calls.

Three filters in a row, each of which may hold text back until it is certain: whole characters
(``StreamDecoder``), stop strings (``StopStrings``), the parts of the answer (``AnswerParser``).
Without a tokenizer there is no text and all of it stays empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wazn.engine.marked_text import MarkedText
from wazn.engine.params import SamplingParams
from wazn.engine.stop_strings import StopStrings
from wazn.text.answers.events import CallEvent, ContentDelta, Event, ReasoningDelta

if TYPE_CHECKING:
    from wazn.text.answers.parser import AnswerParser
    from wazn.text.stream_decoder import StreamDecoder


@dataclass(frozen=True, slots=True)
class Piece:
    """What became certain."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[CallEvent, ...] = ()


class TextWriter:
    """Writes the text of one completion; ``is_stopped`` once a stop string has ended it."""

    def __init__(
        self,
        params: SamplingParams,
        decoder: StreamDecoder | None,
        parser: AnswerParser | None = None,
        markers: Mapping[int, str] | None = None,
    ) -> None:
        """``markers``: the tokens that the parser wants to be told of, by id."""
        self._decoder = decoder
        self._parser = parser
        self._markers = markers or {}
        self._marked = MarkedText()
        self._stops = StopStrings(params.stop or ())
        self._tokens_unsearched = params.min_tokens
        self._num_tokens = 0
        self.reasoning_tokens = 0
        """Tokens up to the last that brought thinking text; thinking only comes first."""

    @property
    def is_stopped(self) -> bool:
        return self._stops.is_stopped

    def push(self, token_id: int) -> Piece:
        """What the next token makes certain."""
        text = "" if self._decoder is None else self._decoder.push(token_id)
        self._marked.arrive(text, self._markers.get(token_id, ""))
        if self._tokens_unsearched > 0:
            self._tokens_unsearched -= 1
        else:
            text = self._stops.push(text)
        self._num_tokens += 1
        return self._parsed(text)

    def finish(self) -> Piece:
        """What was still held back, now that no token follows."""
        text = ""
        if self._decoder is not None and not self.is_stopped:
            last = self._decoder.finish()
            self._marked.arrive(last)
            text = self._stops.push(last) + self._stops.finish()
        return self._parsed(text, is_last=True)

    def _parsed(self, text: str, *, is_last: bool = False) -> Piece:
        if self._parser is None:
            return Piece(text)
        events: list[Event] = []
        for part, is_marker in self._marked.pass_on(text, is_last=is_last):
            events += self._parser.push(part, is_token=is_marker)
        if is_last:
            events += self._parser.finish()
        piece = Piece(
            text="".join(event.text for event in events if isinstance(event, ContentDelta)),
            reasoning="".join(event.text for event in events if isinstance(event, ReasoningDelta)),
            calls=tuple(event for event in events if isinstance(event, CallEvent)),
        )
        if piece.reasoning:
            self.reasoning_tokens = self._num_tokens
        return piece
