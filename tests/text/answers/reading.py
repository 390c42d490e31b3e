"""Reads whole answers, and joins what the way they were cut has divided."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from wazn.text.answers.events import ArgumentsDelta, ContentDelta, Event, ReasoningDelta
from wazn.text.answers.parser import AnswerParser
from wazn.text.families import FAMILIES, Family
from wazn.text.reasoning import NONE, ReasoningStyle

TOOLS: dict[str, dict[str, Any]] = {
    "get_weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "scale": {"type": ["number", "null"]},
            "alerts": {"type": "boolean"},
            "places": {"type": "array", "items": {"type": "string"}},
        },
    },
    "now": {},
}


def family(name: str, thinking: ReasoningStyle = NONE) -> Family:
    """A row of the table, with thinking markers."""
    return replace(next(row for row in FAMILIES if row.name == name), thinking=thinking)


def numbered() -> Callable[[], str]:
    """Call ids a test can know."""
    numbers = count()
    return lambda: f"call{next(numbers)}"


def read(
    row: Family,
    pieces: Iterable[str | tuple[str]],
    *,
    opened: bool = False,
    tools: dict[str, dict[str, Any]] | None = TOOLS,
    tokens: Sequence[str] = (),
) -> list[Event]:
    """The joined events of an answer; a piece in a tuple is a marker token."""
    parser = AnswerParser(row, opened=opened, tools=tools, tokens=tokens, new_id=numbered())
    events: list[Event] = []
    for piece in pieces:
        if isinstance(piece, tuple):
            events += parser.push(piece[0], is_token=True)
        else:
            events += parser.push(piece)
    return joined(events + parser.finish())


def joined(events: Iterable[Event]) -> list[Event]:
    """Neighbouring texts of one kind as one event; no event may be empty."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, ReasoningDelta | ContentDelta | ArgumentsDelta):
            assert event.text
        if isinstance(event, ArgumentsDelta) and isinstance(last, ArgumentsDelta):
            assert event.index == last.index
            result[-1] = ArgumentsDelta(event.index, last.text + event.text)
        elif isinstance(event, ReasoningDelta) and isinstance(last, ReasoningDelta):
            result[-1] = ReasoningDelta(last.text + event.text)
        elif isinstance(event, ContentDelta) and isinstance(last, ContentDelta):
            result[-1] = ContentDelta(last.text + event.text)
        else:
            result.append(event)
    return result
