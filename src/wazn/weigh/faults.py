"""What is wrong with counters, found and named: a pure function over series of dates and values.

Download counters spike for a month, drop to zero for a day, run backwards, vanish under a new
name, and are topped by repositories that only tests load; every rule here comes from a fault seen
in public data, and its threshold stands beside the case that set it. A fault is a remark on
numbers that are kept as they came: lenses decide what to do about it. Knows no source, no store.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import Literal

Counter = Literal["window", "total"]
"""What a metric counts: a window such as the last 30 days, or everything since the beginning."""

Point = tuple[date, float]

JUMP = 10.0
"""Neighbours this many times apart are no growth: Qwen2.5-1.5B-Instruct fell 80-fold within a
month, KBLab/bert-base-swedish-cased-ner rose 224-fold."""

JUMP_AT_RELEASE = 1000.0
"""A first window is cut short by the release, so a rise behind it that stays is a step only from
here on: gpt-oss-20b grew 100-fold and was no fault, t5gemma-b-b-prefixlm 47 000-fold and was."""

WORTH_NAMING = 100_000
"""Jumps of counters that stay below this change nobody's total."""

LONGEST_SPIKE = 3
"""Points that a spike or a dip may last; what stays longer is a step."""

GAP = 1.5
"""Steps between two dates, in usual steps of the series, from which days are missing."""

FALL_WORTH_NAMING = 0.10
"""A total that loses less than this share may have been corrected; one that loses more broke."""


class FaultKind(StrEnum):
    """The name of a fault, as it is printed."""

    SPIKE = "spike"
    DIP = "dip"
    STEP = "step"
    FALLING = "falling counter"
    MISSING_DAYS = "missing days"
    TWO_VALUES = "two values"
    RENAME = "rename"
    TEST_FIXTURE = "test fixture"
    VANISHED = "vanished"
    HTML = "HTML instead of JSON"
    TRUNCATED = "truncated answer"
    NOT_JSON = "not JSON"
    WRONG_TYPE = "wrong type"
    WRONG_LAYOUT = "unknown layout"
    PAGE_LOOP = "page loop"
    REPEATED_PAGE = "repeated page"
    FOREIGN_PAGE = "foreign page address"
    CUT_OFF = "cut off"
    NOTHING_LISTED = "nothing listed"
    FAILED = "failed request"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one entity (or address) from its first to its last day; `detail` is a clause
    with the numbers that show it. `metric` is empty where the fault is not of a number."""

    kind: FaultKind
    entity: str
    metric: str
    first: date
    last: date
    detail: str

    def __str__(self) -> str:
        about = f"{self.entity} {self.metric}".rstrip()
        return f"{self.kind}: {about}: {self.detail}"


def counter_of(metric: str) -> Counter | None:
    """How a metric counts; None for what is no counter, such as a price."""
    if metric.endswith(("_30d", "_day", "_week")):
        return "window"
    if metric in ("downloads_all_time", "pulls", "likes", "derivatives", "repositories"):
        return "total"
    return None


def find_faults(entity: str, metric: str, points: Iterable[Point], counter: Counter) -> list[Fault]:
    """The faults of one series, by date: spikes, dips, steps, falls, and days with two values.

    `points` may come in any order. Of two different values of one day the last is used.
    """
    series, faults = _one_value_a_day(entity, metric, points)
    jumps = _jumps(entity, metric, series, counter)
    falls = _falls(entity, metric, series, jumps) if counter == "total" else []
    faults += [jump for jump in jumps if not _ends_one_of(falls, jump, series)] + falls
    return sorted(faults, key=lambda fault: (fault.first, fault.last, fault.kind))


def missing_days(entity: str, metric: str, days: Sequence[date]) -> list[Fault]:
    """The gaps in dates, in order, that otherwise follow at a usual step: a day, a month."""
    steps = [(after - before).days for before, after in pairwise(days)]
    if len(steps) < 2:
        return []
    usual = median(steps)
    return [
        Fault(
            FaultKind.MISSING_DAYS,
            *(entity, metric, before, after),
            f"nothing between {before} and {after}, where {round(step / usual) - 1} more "
            f"would be usual (every {usual:g} days)",
        )
        for (before, after), step in zip(pairwise(days), steps, strict=True)
        if step > usual * GAP
    ]


def absences(
    entity: str, metric: str, days: Sequence[date], snapshots: Sequence[date]
) -> list[Fault]:
    """The snapshots between an entity's first and last day, all in order, that lack it."""
    there = set(days)
    lacking = [day for day in snapshots if days[0] < day < days[-1] and day not in there]
    if not lacking:
        return []
    detail = f"not among {len(lacking)} snapshots from {lacking[0]} to {lacking[-1]}"
    return [Fault(FaultKind.MISSING_DAYS, entity, metric, lacking[0], lacking[-1], detail)]


def clean(points: Iterable[Point], faults: Iterable[Fault]) -> list[Point]:
    """The points that no spike and no dip covers."""
    spans = [
        (fault.first, fault.last)
        for fault in faults
        if fault.kind in (FaultKind.SPIKE, FaultKind.DIP)
    ]
    return [
        (day, value)
        for day, value in points
        if not any(first <= day <= last for first, last in spans)
    ]


_FIXTURE = re.compile(
    r"hf:([^/]*-internal-testing/.*"
    r"|[^/]+/tiny-random[-_].*"
    r"|[^/]+/tiny-[A-Za-z0-9]+For[A-Z][A-Za-z0-9]*([-_.].*)?)"
)


def is_test_fixture(entity: str) -> bool:
    """Whether a repository exists to be loaded by tests: `hf:trl-internal-testing/tiny-…` was the
    second most downloaded text-generation model of the Hub on 5 September 2026."""
    return _FIXTURE.fullmatch(entity) is not None


def find_fixtures(metric: str, values: Mapping[str, float], day: date) -> list[Fault]:
    """The test fixtures among the entities of a snapshot, each with its rank."""
    ranked = sorted(values, key=lambda entity: (-values[entity], entity))
    return [
        Fault(
            FaultKind.TEST_FIXTURE,
            *(entity, metric, day, day),
            f"{values[entity]:,.0f}, rank {rank} of {len(ranked)}, is loaded by tests",
        )
        for rank, entity in enumerate(ranked, 1)
        if values[entity] > 0 and is_test_fixture(entity)
    ]


def find_renames(
    metric: str, before: Mapping[str, float], after: Mapping[str, float], day: date
) -> list[Fault]:
    """Entities of the last snapshot that are gone while one of the same name has come.

    A successor has the name behind the slash in common and a value of at least half: counters
    move with a repository (THUDM to zai-org, CohereForAI to CohereLabs).
    """
    came: dict[str, list[str]] = defaultdict(list)
    for entity in after.keys() - before.keys():
        came[_bare_name(entity)].append(entity)
    faults = []
    for entity in sorted(before.keys() - after.keys()):
        likely = [e for e in came[_bare_name(entity)] if after[e] * 2 >= before[entity]]
        if likely:
            heir = max(likely, key=lambda e: after[e])
            detail = f"{before[entity]:,.0f} is gone, {heir} came with {after[heir]:,.0f}"
            faults.append(Fault(FaultKind.RENAME, entity, metric, day, day, detail))
        elif before[entity] >= WORTH_NAMING:
            detail = f"{before[entity]:,.0f} last time, not listed now"
            faults.append(Fault(FaultKind.VANISHED, entity, metric, day, day, detail))
    return faults


def _bare_name(entity: str) -> str:
    return entity.rpartition("/")[2].lower()


def _one_value_a_day(
    entity: str, metric: str, points: Iterable[Point]
) -> tuple[list[Point], list[Fault]]:
    by_day: dict[date, list[float]] = defaultdict(list)
    for day, value in points:
        by_day[day].append(value)
    faults = [
        Fault(
            FaultKind.TWO_VALUES,
            *(entity, metric, day, day),
            f"{min(values):,.0f} and {max(values):,.0f} on {day}",
        )
        for day, values in by_day.items()
        if min(values) != max(values)
    ]
    return sorted((day, values[-1]) for day, values in by_day.items()), faults


def _jumps(entity: str, metric: str, series: Sequence[Point], counter: Counter) -> list[Fault]:
    """Spikes and dips (away and back again within LONGEST_SPIKE points), and steps (away)."""
    faults = []
    start = 1
    while start < len(series):
        upward = series[start][1] > series[start - 1][1]
        is_jump = _is_jump(series, start, JUMP)
        back = _way_back(series, start, upward=upward) if is_jump else None
        if back is not None:
            kind = FaultKind.SPIKE if upward else FaultKind.DIP
            shown = " → ".join(f"{value:,.0f}" for _, value in series[start - 1 : back + 1])
            span = (series[start][0], series[back - 1][0])
            faults.append(Fault(kind, entity, metric, *span, shown))
            start = back
        elif is_jump and (counter == "window" if not upward else _is_step_up(series, start)):
            faults.append(_step(entity, metric, series[start - 1], series[start]))
        start += 1
    return faults


def _is_step_up(series: Sequence[Point], index: int) -> bool:
    return index > 1 or _is_jump(series, index, JUMP_AT_RELEASE)


def _is_jump(series: Sequence[Point], index: int, factor: float) -> bool:
    low, high = sorted((series[index - 1][1], series[index][1]))
    return high >= WORTH_NAMING and high >= factor * max(low, 1)


def _way_back(series: Sequence[Point], start: int, *, upward: bool) -> int | None:
    """The first point behind a jump that is on the old level again, if it comes soon."""
    level = series[start - 1][1]
    for index in range(start + 1, min(start + LONGEST_SPIKE, len(series) - 1) + 1):
        value = series[index][1]
        edge = series[index - 1][1]
        if upward and value * JUMP <= edge and value <= level * JUMP:
            return index
        if not upward and value >= max(edge, 1) * JUMP and value * JUMP >= level:
            return index
    return None


def _step(entity: str, metric: str, before: Point, after: Point) -> Fault:
    low, high = sorted((before[1], after[1]))
    way = "up" if after[1] > before[1] else "down"
    detail = f"{way} {high / max(low, 1):,.0f}-fold, {before[1]:,.0f} → {after[1]:,.0f}"
    return Fault(FaultKind.STEP, entity, metric, after[0], after[0], detail)


def _falls(
    entity: str, metric: str, series: Sequence[Point], jumps: Sequence[Fault]
) -> list[Fault]:
    """Where a total fell, unless a spike or dip explains it.

    A fall that is made good soon was a bad reading, so it is called a dip; one that stays means
    that the counter itself was set back.
    """
    explained = [(jump.first, jump.last) for jump in jumps if jump.kind is not FaultKind.STEP]
    faults = []
    for index in range(1, len(series)):
        (before, old), (day, new) = series[index - 1], series[index]
        if new >= old * (1 - FALL_WORTH_NAMING):
            continue
        if any(span[0] <= before <= span[1] or span[0] == day for span in explained):
            continue
        soon = series[index + 1 : index + 1 + LONGEST_SPIKE]
        healed = next((i for i, (_, value) in enumerate(soon, index) if value >= old), None)
        kind = FaultKind.FALLING if healed is None else FaultKind.DIP
        last = day if healed is None else series[healed][0]
        detail = f"a total fell by {1 - new / old:.0%}, {old:,.0f} → {new:,.0f}"
        faults.append(Fault(kind, entity, metric, day, last, detail))
    return faults


def _ends_one_of(falls: Sequence[Fault], jump: Fault, series: Sequence[Point]) -> bool:
    """Whether a jump is nothing but the end of a dip that is named already."""
    before = max((day for day, _ in series if day < jump.first), default=jump.first)
    return any(fall.kind is FaultKind.DIP and fall.last == before for fall in falls)
