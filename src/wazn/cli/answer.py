"""One answer, streamed: from the engine's increments to text on a terminal, in a pipe or JSON.

Knows what belongs where (thinking dimmed on a terminal, only the answer elsewhere) and that
Ctrl-C ends an answer; the engine itself never sees the interrupt.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from wazn.cli.console import DIM, PLAIN, is_styled, print_json, print_note, printable
from wazn.text.answers.events import (
    ArgumentsDelta,
    CallEvent,
    ToolCall,
    ToolCallEnd,
    ToolCallStart,
    joined_calls,
)

if TYPE_CHECKING:
    from wazn.engine.params import SamplingParams
    from wazn.engine.request import Increment, Usage
    from wazn.engine.sinks import Stream


class AnswerWriter:
    """Writes increments as they come and flushes each, so that text appears at reading speed.

    On a terminal the thinking part is shown, dimmed; anywhere else only the answer is written.
    As a context manager it ends the line and any styling, also after an interruption.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._on_terminal = stream.isatty()
        self._is_styled = is_styled(stream)
        self._in_reasoning = False
        self._at_line_start = True

    def __enter__(self) -> AnswerWriter:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error_type is not None and issubclass(error_type, BrokenPipeError):
            return  # nobody reads on, so nothing can be tidied up
        self._close_reasoning()
        if not self._at_line_start:
            self._put("\n")
        self._stream.flush()

    def write(self, increment: Increment) -> None:
        """What one step added."""
        if increment.reasoning and self._on_terminal:
            self._open_reasoning()
            self._put(increment.reasoning)
        if increment.text:
            self._close_reasoning()
            self._put(increment.text)
        for event in increment.calls:
            self._close_reasoning()
            self._show(event)
        self._stream.flush()

    def _show(self, event: CallEvent) -> None:
        """A call on a line of its own: its name, its arguments, and why it cannot be made."""
        match event:
            case ToolCallStart(name=name):
                self._put(("" if self._at_line_start else "\n") + f"→ {name} ")
            case ArgumentsDelta(text=text):
                self._put(text)
            case ToolCallEnd(error=error):
                self._put("\n" if error is None else f"\n  (no valid call: {error})\n")

    def _open_reasoning(self) -> None:
        if not self._in_reasoning:
            self._in_reasoning = True
            self._stream.write(DIM if self._is_styled else "(thinking) ")

    def _close_reasoning(self) -> None:
        if not self._in_reasoning:
            return
        self._in_reasoning = False
        if self._is_styled:
            self._stream.write(PLAIN)
        self._put("\n" if self._at_line_start else "\n\n")

    def _put(self, text: str) -> None:
        self._stream.write(printable(text) if self._on_terminal else text)
        self._at_line_start = text.endswith("\n")


@dataclass(slots=True)
class Answer:
    """What a stream has said; ``is_interrupted`` means that a person stopped it."""

    increments: list[Increment] = field(default_factory=list)
    is_interrupted: bool = False
    streaming_s: float = 0.0  # from the first increment to the last, on this side's clock

    @property
    def num_tokens(self) -> int:
        """Tokens written, thinking included."""
        return sum(len(increment.token_ids) for increment in self.increments)

    @property
    def text(self) -> str:
        """The answer without the thinking part."""
        return "".join(increment.text for increment in self.increments)

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls that the model wants made."""
        return joined_calls(event for increment in self.increments for event in increment.calls)

    @property
    def usage(self) -> Usage | None:
        """What it took; None after an interruption."""
        return self.increments[-1].usage if self.increments else None

    @property
    def is_cut(self) -> bool:
        """Whether the answer ended because there was no room for more."""
        return bool(self.increments) and self.increments[-1].finish_reason == "length"

    def describe(self) -> dict[str, Any]:
        """The finished completion as JSON shows it."""
        last = self.increments[-1]
        return {
            "text": self.text,
            "reasoning": "".join(increment.reasoning for increment in self.increments),
            "tool_calls": [asdict(call) for call in self.tool_calls],
            "token_ids": [token for increment in self.increments for token in increment.token_ids],
            "finish_reason": last.finish_reason,
            "usage": None if last.usage is None else asdict(last.usage),
        }


def follow(stream: Stream, write: Callable[[Increment], None]) -> Answer:
    """Hand on the increments of one answer until it ends or Ctrl-C ends it.

    Raises EngineFailed if the engine stops.
    """
    answer = Answer()
    first_at = None
    try:
        with stream:
            for increment in stream:
                now = time.perf_counter()
                first_at = first_at or now
                answer.streaming_s = now - first_at
                answer.increments.append(increment)
                write(increment)
    except KeyboardInterrupt:
        answer.is_interrupted = True
    return answer


def print_answer(stream: Stream, params: SamplingParams, *, model: str, as_json: bool) -> None:
    """Write one answer to stdout, streamed or as one JSON object; Ctrl-C ends the program."""
    if as_json:
        answer = follow(stream, lambda increment: None)
    else:
        with AnswerWriter(sys.stdout) as writer:
            answer = follow(stream, writer.write)
    if answer.is_interrupted:
        raise KeyboardInterrupt
    if as_json:
        print_json({"model": model, **answer.describe()})
    elif answer.is_cut and params.max_tokens is None:
        print_note("wazn: the answer ends here because the context is full")
