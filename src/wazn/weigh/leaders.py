"""Who leads whom on a line of totals, by how much, and how far that depends on the outlier rule.

A ratio is first over second of a pair. Every rule gives one, and leaving any one entity out on
either side gives a range; the range of a standing spans them all. Knows nothing of where the
totals come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import pairwise
from math import exp, log
from statistics import median

from wazn.weigh.attribution import UNKNOWN
from wazn.weigh.counting import By, Group, Line, Snapshot

COUNTRY_PAIR = ("CN", "US")
TREND_DAYS = 190
"""How far back a trend looks: half a year, and a few days for snapshots that come late."""

_NOBODY = (UNKNOWN, "OTHER", "other")


class Rule(StrEnum):
    """What is done about outliers before a side is added up."""

    AS_COUNTED = "as counted"
    WITHOUT_TOP = "without top"
    CAPPED = "capped"
    WITHOUT_FAULTS = "without faults"


@dataclass(frozen=True, slots=True)
class Crossover:
    """Between which days the leader of a standing took the lead, rule by rule.

    Each span is (last day behind, first day ahead); the first is None where the leader has led in
    every snapshot, so that it happened before the second.
    """

    by_rule: dict[Rule, tuple[date | None, date]]

    @property
    def earliest(self) -> date | None:
        """The earliest day it can have been, by any rule; None: before the first snapshot."""
        starts = [behind for behind, _ in self.by_rule.values()]
        return None if None in starts else min(day for day in starts if day is not None)

    @property
    def latest(self) -> date:
        """The latest day it can have been, by any rule."""
        return max(ahead for _, ahead in self.by_rule.values())


@dataclass(frozen=True, slots=True)
class Trend:
    """Growth of the ratio in 30 days, as a factor: the median over all pairs of snapshots of the
    last half year (Theil 1950, Sen 1968, of the logarithm), and the middle 80 % of them."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Standing:
    """First against second on the last snapshot of a line.

    `ratios` lacks a rule under which the second side is nothing. `range` spans all rules and every
    single entity left out.
    """

    line: Line
    snapshot: Snapshot
    first: str
    second: str
    ratios: dict[Rule, float]
    left_out: tuple[float, float]
    crossover: Crossover | None
    trend: Trend | None

    @property
    def ratio(self) -> float:
        return self.ratios[Rule.AS_COUNTED]

    @property
    def range(self) -> tuple[float, float]:
        every = [*self.ratios.values(), *self.left_out]
        return min(every), max(every)

    @property
    def leader(self) -> str:
        return self.first if self.ratio >= 1 else self.second

    @property
    def is_robust(self) -> bool:
        """Whether the same side leads under every rule and whoever is left out."""
        low, high = self.range
        return low > 1 or high < 1


def standing(line: Line, by: By, pair: tuple[str, str] | None = None) -> Standing | None:
    """The standing of a pair, by default China and the United States or the two largest groups.

    None where the last snapshot does not have both.
    """
    snapshot = line.snapshots[-1]
    first, second = pair or _default_pair(snapshot, by)
    if first not in snapshot.groups or second not in snapshot.groups:
        return None
    ratios = ratios_of(snapshot, first, second)
    if Rule.AS_COUNTED not in ratios:
        return None
    return Standing(
        line=line,
        snapshot=snapshot,
        first=first,
        second=second,
        ratios=ratios,
        left_out=_leave_one_out(snapshot.groups[first], snapshot.groups[second]),
        crossover=_crossover(line, first, second),
        trend=_trend(line, first, second),
    )


def ratios_of(snapshot: Snapshot, first: str, second: str) -> dict[Rule, float]:
    """First over second under each rule; a rule that leaves a side nothing is left out."""
    sides = (snapshot.groups.get(first), snapshot.groups.get(second))
    ratios = {}
    for rule in Rule:
        above, below = (0.0 if side is None else total(side, rule) for side in sides)
        if above > 0 and below > 0:
            ratios[rule] = above / below
    return ratios


def total(group: Group, rule: Rule) -> float:
    """The sum of a group under a rule."""
    return {
        Rule.AS_COUNTED: group.total,
        Rule.WITHOUT_TOP: group.total - group.top_value,
        Rule.CAPPED: group.capped,
        Rule.WITHOUT_FAULTS: group.without_faults,
    }[rule]


def history(line: Line, first: str, second: str, rule: Rule) -> list[tuple[date, float]]:
    """The ratio under a rule, snapshot by snapshot, where both sides are there."""
    return [
        (snapshot.day, ratios[rule])
        for snapshot in line.snapshots
        if rule in (ratios := ratios_of(snapshot, first, second))
    ]


def _default_pair(snapshot: Snapshot, by: By) -> tuple[str, str]:
    if by == "country":
        return COUNTRY_PAIR
    named = [name for name in snapshot.groups if name not in _NOBODY]
    return (named[0], named[1]) if len(named) > 1 else ("", "")


def _leave_one_out(first: Group, second: Group) -> tuple[float, float]:
    """The ratio without the largest entity of the first side, and of the second side.

    Leaving out any other entity changes it less, so these are the ends of the range. A side of
    one entity stays as it is.
    """
    above = first.total - first.top_value or first.total
    below = second.total - second.top_value or second.total
    return above / second.total, first.total / below


def _crossover(line: Line, first: str, second: str) -> Crossover | None:
    """When the leader of today took the lead, under each rule by which it leads today."""
    by_rule: dict[Rule, tuple[date | None, date]] = {}
    is_first_ahead = None
    for rule in Rule:
        ratios = history(line, first, second, rule)
        if not ratios:
            continue
        if is_first_ahead is None:
            is_first_ahead = ratios[-1][1] >= 1
        if (ratios[-1][1] >= 1) == is_first_ahead:
            by_rule[rule] = _taken_between(ratios)
    return Crossover(by_rule) if by_rule and len(line.snapshots) > 1 else None


def _taken_between(ratios: list[tuple[date, float]]) -> tuple[date | None, date]:
    is_ahead = ratios[-1][1] >= 1
    for (before, old), (after, _) in reversed([*pairwise(ratios)]):
        if (old >= 1) != is_ahead:
            return before, after
    return None, ratios[0][0]


def _trend(line: Line, first: str, second: str) -> Trend | None:
    recent = [
        (day, log(ratio))
        for day, ratio in history(line, first, second, Rule.AS_COUNTED)
        if (line.snapshots[-1].day - day).days <= TREND_DAYS
    ]
    if len(recent) < 3:
        return None
    slopes = sorted(_slopes(_thinned(recent)))
    low, high = slopes[len(slopes) // 10], slopes[-1 - len(slopes) // 10]
    return Trend(*(exp(30 * slope) for slope in (median(slopes), low, high)))


def _thinned(points: list[tuple[date, float]]) -> list[tuple[date, float]]:
    """At most one point a week, so that a daily series does not weigh its noise more than years."""
    kept = points[:1]
    for day, value in points[1:]:
        if (day - kept[-1][0]).days >= 7:
            kept.append((day, value))
    return kept


def _slopes(points: list[tuple[date, float]]) -> Iterator[float]:
    for index, (day, value) in enumerate(points):
        for later, other in points[index + 1 :]:
            yield (other - value) / (later - day).days
