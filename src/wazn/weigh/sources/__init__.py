"""Where numbers come from: one file for each public service, and what they have in common.

A source says what to ask first and reads an answer into observations, more to ask, and faults. It
never asks itself: `wazn.weigh.capture` does, so that limits, retries, resuming and keeping raw
answers are the same for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from wazn.weigh.faults import Fault
from wazn.weigh.history import Counted
from wazn.weigh.observation import Observation
from wazn.weigh.prices import PriceRow
from wazn.weigh.sources.client import Response, Service


@dataclass(frozen=True, slots=True)
class Request:
    """An address to ask, and in words what is asked for; `wanted` is how many entries still are,
    None for all there are."""

    url: str
    what: str
    wanted: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked and what came, on the day that the capture stands for."""

    request: Request
    response: Response
    sha256: str
    as_of: date


@dataclass(slots=True)
class Page:
    """What an answer says. `left_out` counts, by reason, entries that nobody asked for."""

    observations: list[Observation] = field(default_factory=list)
    price_rows: list[PriceRow] = field(default_factory=list)
    more: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


class Source(Protocol):
    """One service, and what is to be asked of it."""

    @property
    def name(self) -> str:
        """The command's word for it, such as `hub`; part of file names."""

    @property
    def service(self) -> Service: ...

    @property
    def counted(self) -> Sequence[Counted]:
        """The lines of numbers it adds to; the first has every entity it counts."""

    @property
    def dates_prices(self) -> bool:
        """Whether its price rows say themselves since when they hold."""

    @property
    def complete_for(self) -> frozenset[str] | None:
        """The lower-case publishers whose entities are all listed, so that one which is not there
        is gone; None: all of them."""

    def first(self) -> Sequence[Request]:
        """What to ask in the beginning."""

    def read(self, answer: Answer) -> Page:
        """What an answer says; raises `answers.BadAnswer` where it cannot be one. Depends on
        nothing but the answer, so that answers can be read again."""
