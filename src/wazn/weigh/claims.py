"""Figures printed without a definition, held against the published rows of each lens.

A claim fits a definition when its figures lie between the rows of that definition before and
after its date, and the leader is the one that the rows know. Everything is derived from the facts
it is given: without a row there is no answer. That a claim fits says that it may have been counted
so, never that it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from wazn.weigh.published import Fact, Period

Verdict = Literal["fits", "contradicted", "no rows"]

NEAR = timedelta(days=31)
SEASON = timedelta(days=92)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two figures of one row of a publication: same metric, date, scope, source and kind."""

    first: Fact
    second: Fact

    @property
    def ratio(self) -> float:
        return self.first.number / self.second.number

    @property
    def leader(self) -> Fact:
        return self.first if self.ratio >= 1 else self.second


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The rows of one entity before and after a claim's date."""

    claimed: Fact
    before: Fact | None
    after: Fact | None

    @property
    def holds(self) -> bool:
        """Whether the claimed figure lies between them; a total since the beginning never falls."""
        low = self.before.number if self.before else 0.0
        return low <= self.claimed.number <= (self.after.number if self.after else float("inf"))


@dataclass(frozen=True, slots=True)
class Fit:
    """A claim against the rows of one lens; `rows` are all rows the verdict rests on."""

    lens: str
    verdict: Verdict
    neighbours: tuple[Neighbour, ...]
    crossover: Fact | None

    @property
    def rows(self) -> list[Fact]:
        around = [fact for one in self.neighbours for fact in (one.before, one.after) if fact]
        return [*around, *([self.crossover] if self.crossover else [])]


@dataclass(frozen=True, slots=True)
class Claim:
    """A pair somebody printed, and how it compares with each lens that has rows to compare."""

    pair: Pair
    fits: tuple[Fit, ...]

    @property
    def fitting(self) -> list[Fit]:
        return [fit for fit in self.fits if fit.verdict == "fits"]


def pairs(facts: Iterable[Fact], first: str, second: str) -> list[Pair]:
    """The rows in which both entities have a figure, in the order of the facts."""
    rows: dict[tuple[object, ...], dict[str, Fact]] = {}
    for fact in facts:
        if fact.number > 0:
            key = (fact.lens, fact.metric, fact.as_of.text, fact.scope, fact.source, fact.kind)
            rows.setdefault(key, {})[fact.entity] = fact
    return [Pair(row[first], row[second]) for row in rows.values() if {first, second} <= row.keys()]


def claims(facts: Sequence[Fact], pair: tuple[str, str], day: date) -> list[Claim]:
    """What was claimed about a pair of entities for a day, and what the rows say to it."""
    claimed = [fact for fact in facts if fact.kind == "claim" and is_near(fact.as_of, day, NEAR)]
    lenses = dict.fromkeys(fact.lens for fact in facts if fact.lens)
    return [
        Claim(one, tuple(_fit(one, lens, [f for f in facts if f.lens == lens]) for lens in lenses))
        for one in pairs(claimed, *pair)
    ]


def is_near(period: Period, day: date, within: timedelta) -> bool:
    """Whether a day lies in a period or so close to it."""
    return period.first - within <= day <= period.last + within


def _fit(pair: Pair, lens: str, rows: Sequence[Fact]) -> Fit:
    day = pair.first.as_of.last
    comparable = [row for row in rows if row.metric == pair.first.metric and row.number > 0]
    sides = [_neighbour(fact, comparable, day) for fact in (pair.first, pair.second)]
    known = tuple(side for side in sides if side.before or side.after)
    crossover = next((row for row in rows if isinstance(row.value, Period)), None)
    if len(known) < 2 or not any(side.before and side.after for side in known):
        return Fit(lens, "no rows", (), None)
    holds = all(side.holds for side in known) and _leader_agrees(pair, crossover)
    return Fit(lens, "fits" if holds else "contradicted", known, crossover)


def _neighbour(claimed: Fact, rows: Sequence[Fact], day: date) -> Neighbour:
    own = sorted((row for row in rows if row.entity == claimed.entity), key=lambda r: r.as_of.last)
    before = [row for row in own if row.as_of.last <= day]
    after = [row for row in own if row.as_of.first > day]
    return Neighbour(claimed, before[-1] if before else None, after[0] if after else None)


def _leader_agrees(pair: Pair, crossover: Fact | None) -> bool:
    """A crossover row names who took the lead and when; before that the other side led."""
    if crossover is None or not isinstance(crossover.value, Period):
        return True
    took_lead = pair.first.as_of.last > crossover.value.last
    return (pair.leader.entity == crossover.entity) == took_lead
