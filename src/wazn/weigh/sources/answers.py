"""Reading answers of strangers: JSON against a type, and a name for everything that is not.

A page is decoded in two steps, the frame first and each entry by itself, so that one entry of a
wrong type is set aside and named without losing the page. Knows no service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TypeVar

import msgspec

from wazn.errors import BadObservation
from wazn.weigh.faults import Fault, FaultKind
from wazn.weigh.observation import Observation, unit_of
from wazn.weigh.sources import Answer, Page

MAX_DETAIL = 200

Decoded = TypeVar("Decoded")


class BadAnswer(Exception):
    """An answer that is not what was asked for; `kind` names how."""

    def __init__(self, kind: FaultKind, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


def decode(body: bytes, kind: type[Decoded]) -> Decoded:
    """The JSON document of that type; raises BadAnswer."""
    if body.lstrip()[:1] == b"<":
        raise BadAnswer(FaultKind.HTML, printable(body[:60].decode("utf-8", "replace")))
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise BadAnswer(FaultKind.WRONG_LAYOUT, printable(str(error))) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        cut = not body.strip() or "truncated" in str(error)
        reason = "NaN is no JSON number" if b"NaN" in body and not cut else str(error)
        raise BadAnswer(
            FaultKind.TRUNCATED if cut else FaultKind.NOT_JSON,
            printable(f"{reason}, of {len(body)} bytes"),
        ) from None


@dataclass(frozen=True, slots=True)
class Teller:
    """Makes observations of one answer: what all of them have in common."""

    answer: Answer
    source: str
    definition: str

    def __call__(
        self, entity: str, metric: str, value: float, as_of: date | None = None
    ) -> Observation:
        """One observation; raises BadObservation."""
        return Observation(
            entity,
            metric,
            value,
            unit_of(metric),
            as_of or self.answer.as_of,
            self.answer.response.captured_at,
            self.source,
            self.definition,
            self.answer.sha256,
        )


def read_entries(
    answer: Answer,
    entries: list[msgspec.Raw],
    kind: type[Decoded],
    tell: Callable[[Decoded], Iterator[Observation]],
) -> Page:
    """The observations that `tell` makes of each entry; entries that break a rule become faults."""
    page = Page()
    for number, raw in enumerate(entries, 1):
        try:
            page.observations.extend(list(tell(msgspec.json.decode(raw, type=kind))))
        except (msgspec.DecodeError, BadObservation) as error:  # ValidationError is one
            page.faults.append(entry_fault(answer, number, str(error)))
    return page


def entry_fault(answer: Answer, number: int, detail: str) -> Fault:
    """One entry of an answer that is of no use."""
    where = f"{answer.request.what}, entry {number}"
    day = answer.as_of
    return Fault(FaultKind.WRONG_TYPE, where, "", day, day, printable(detail))


def page_fault(answer: Answer, kind: FaultKind, detail: str) -> Fault:
    """Something about a whole answer."""
    return Fault(kind, answer.request.what, "", answer.as_of, answer.as_of, printable(detail))


def days_since_1970(moment: str) -> int | None:
    """`2025-04-27T03:40:00.000Z` → 20205; None for what is no moment."""
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return None
    utc = parsed.astimezone(UTC) if parsed.tzinfo else parsed
    return (utc.date() - date(1970, 1, 1)).days


def printable(text: str) -> str:
    """Foreign text as one short line."""
    shown = "".join(char if char.isprintable() else "·" for char in text[: MAX_DETAIL + 1])
    return shown if len(shown) <= MAX_DETAIL else f"{shown[:MAX_DETAIL]}…"
