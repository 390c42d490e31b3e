"""What an answer turns out to be, in the order in which it becomes certain.

The texts of one kind that follow one another belong together; where they are cut depends on how
the answer arrived, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of the thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class ContentDelta:
    """More of the answer itself."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """Call number ``index`` of this answer begins; its arguments follow, then its end."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ArgumentsDelta:
    """More of the arguments of a call: JSON text of one object, in the model's own spelling."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallEnd:
    """A call is over; ``error`` says what is wrong with it, and is None for one that can be run."""

    index: int
    error: str | None = None


Event: TypeAlias = ReasoningDelta | ContentDelta | ToolCallStart | ArgumentsDelta | ToolCallEnd
CallEvent: TypeAlias = ToolCallStart | ArgumentsDelta | ToolCallEnd


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole call; ``arguments`` is JSON text of one object unless ``error`` says otherwise."""

    id: str
    name: str
    arguments: str
    error: str | None = None


def joined_calls(events: Iterable[CallEvent]) -> list[ToolCall]:
    """The calls that a run of events makes, in order; one without an end says so."""
    names: dict[int, ToolCallStart] = {}
    arguments: dict[int, list[str]] = {}
    errors: dict[int, str | None] = {}
    for event in events:
        match event:
            case ToolCallStart(index=index):
                names[index] = event
                arguments[index] = []
                errors[index] = "the answer ended inside this call."
            case ArgumentsDelta(index=index, text=text):
                arguments[index].append(text)
            case ToolCallEnd(index=index, error=error):
                errors[index] = error
    return [
        ToolCall(start.id, start.name, "".join(arguments[index]), errors[index])
        for index, start in sorted(names.items())
    ]
