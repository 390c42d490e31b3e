"""Which charts a weighing gives: for each measured line its ratio, and the totals of both sides.

Published pairs of one source and scope that have several dates are a line of their own: what was
counted differently is never joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from wazn.weigh.chart import Chart, Series
from wazn.weigh.claims import Pair
from wazn.weigh.forecast import Forecast
from wazn.weigh.leaders import Rule, history, ratios_of
from wazn.weigh.weighing import LensAnswer, Measured, Weighing
from wazn.weigh.words import Words, times


def ratio_charts(weighing: Weighing, words: Words) -> list[Chart]:
    """One chart of the ratio for each measured line of each lens."""
    return [
        chart
        for answer in weighing.answers
        for one in answer.measured
        for chart in charts_of(answer, one, words)[:1]
    ]


def charts_of(answer: LensAnswer, one: Measured, words: Words) -> list[Chart]:
    """The ratio and the totals of one line; nothing for a line without both sides."""
    found = one.standing
    if found is None:
        return []
    title = answer.lens.wording[words.language].title
    ratio = Chart(
        title=title,
        series=[Series("", history(one.line, *_sides(one), Rule.AS_COUNTED))],
        spell=times,
        band=list(_band(one)),
        ahead=_ahead(one),
        is_ratio=True,
        is_right_to_left=words.language == "ar",
    )
    unit = one.line.lens.unit
    totals = Chart(
        title=words.say("report_totals", unit=words.unit(unit)),
        series=[
            Series(words.group(name), _totals(one, name), index)
            for index, name in enumerate(_sides(one))
        ],
        spell=lambda value: words.amount(value, unit),
        is_right_to_left=words.language == "ar",
    )
    return [ratio, totals]


def published_charts(answer: LensAnswer, words: Words) -> list[Chart]:
    """A chart of the ratio for each series of published pairs with more than one date."""
    series: dict[tuple[str, ...], list[Pair]] = {}
    for pair in answer.history:
        key = (pair.first.metric, pair.first.scope, pair.first.source)
        series.setdefault(key, []).append(pair)
    return [
        _published_chart(answer, pairs, words)
        for pairs in series.values()
        if len({pair.first.as_of.last for pair in pairs}) > 1
    ]


def _published_chart(answer: LensAnswer, pairs: Sequence[Pair], words: Words) -> Chart:
    points = sorted((pair.first.as_of.last, pair.ratio) for pair in pairs)
    title = f"{answer.lens.wording[words.language].title} ({words.say('kind_published')})"
    return Chart(
        title=title,
        series=[Series("", points)],
        spell=times,
        is_ratio=True,
        is_right_to_left=words.language == "ar",
    )


def _sides(one: Measured) -> tuple[str, str]:
    assert one.standing is not None
    return one.standing.first, one.standing.second


def _band(one: Measured) -> Iterator[tuple[date, float, float]]:
    for snapshot in one.line.snapshots:
        ratios = ratios_of(snapshot, *_sides(one)).values()
        if ratios:
            yield snapshot.day, min(ratios), max(ratios)


def _ahead(one: Measured) -> tuple[date, float, float] | None:
    ahead = one.forecast
    return (ahead.day, ahead.low, ahead.high) if isinstance(ahead, Forecast) else None


def _totals(one: Measured, name: str) -> list[tuple[date, float]]:
    return [
        (snapshot.day, snapshot.groups[name].total)
        for snapshot in one.line.snapshots
        if name in snapshot.groups
    ]
