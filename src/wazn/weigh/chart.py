"""Line charts of dated figures as plain SVG: no script, no font, nothing from a network.

One chart shows one definition. Time runs from left to right in every language; titles stand where
the language begins. Knows no observations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from html import escape
from itertools import pairwise
from math import ceil, floor, log10
from statistics import median

WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 74, 98, 46, 34

STYLE = """
text{font-family:system-ui,'Noto Sans','Noto Sans Arabic','DejaVu Sans',sans-serif;
font-size:12px;fill:#333}
.title{font-size:14px;font-weight:600;fill:#111}
.grid{stroke:#ddd;stroke-width:1}.even{stroke:#555;stroke-width:1.2;stroke-dasharray:2 3}
.line{fill:none;stroke-width:2}.band{opacity:.18;stroke:none}
.c0{stroke:#b3202c}.c1{stroke:#1f5fa8}.c2{stroke:#3c7a3c}
.f0{fill:#b3202c}.f1{fill:#1f5fa8}.f2{fill:#3c7a3c}
.ahead{stroke:#b3202c;stroke-width:2;stroke-dasharray:4 3}
"""

MAX_DOTS = 40
"""A line of more points, such as a daily one, needs no dots."""

GAP = 4.0
"""Usual steps between two points over which no line is drawn."""

Point = tuple[date, float]


@dataclass(frozen=True, slots=True)
class Series:
    """A named line; `index` picks its colour."""

    name: str
    points: Sequence[Point]
    index: int = 0


@dataclass(frozen=True, slots=True)
class Chart:
    """What one chart shows. `band` is (day, low, high); `ahead` is (day, low, high) of a forecast.

    `is_ratio` draws a logarithmic scale with a line where both sides are even.
    """

    title: str
    series: Sequence[Series]
    spell: Callable[[float], str]
    band: Sequence[tuple[date, float, float]] = ()
    ahead: tuple[date, float, float] | None = None
    is_ratio: bool = False
    is_right_to_left: bool = False
    days: list[date] = field(init=False)
    values: list[float] = field(init=False)

    def __post_init__(self) -> None:
        spans = [*self.band, *([self.ahead] if self.ahead else [])]
        points = [point for series in self.series for point in series.points]
        days = [day for day, _ in points] + [day for day, *_ in spans]
        values = [value for _, value in points] + [v for _, *both in spans for v in both]
        object.__setattr__(self, "days", days)
        object.__setattr__(self, "values", [value for value in values if value > 0])


def draw(chart: Chart) -> str:
    """The chart as one `<svg>` element without its style."""
    scale = _Scale(chart)
    parts = [*_title(chart), *_grid(chart, scale)]
    if len(chart.band) > 1:
        parts.append(_band(chart, scale))
    for series in chart.series:
        parts += _line(series, scale)
    if chart.ahead:
        parts.append(_ahead(chart.ahead, scale))
    parts += _names(chart, scale)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'direction="ltr" role="img" aria-label="{escape(chart.title)}">{"".join(parts)}</svg>'
    )


def sheet(charts: Sequence[Chart]) -> str:
    """Charts below one another as one SVG document."""
    height = HEIGHT * max(1, len(charts))
    inner = "".join(
        draw(chart).replace(
            "<svg ", f'<svg y="{HEIGHT * index}" width="{WIDTH}" height="{HEIGHT}" ', 1
        )
        for index, chart in enumerate(charts)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{2 * height}" '
        f'viewBox="0 0 {WIDTH} {height}"><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{inner}</svg>\n'
    )


class _Scale:
    """Where a day and a value lie, in units of the picture."""

    def __init__(self, chart: Chart) -> None:
        self.is_log = chart.is_ratio
        self.first, self.last = min(chart.days), max(chart.days)
        low, high = min(chart.values), max(chart.values)
        if chart.is_ratio:
            low, high = min(low, 1 / 1.1), max(high, 1.1)
        else:
            low = 0.0
        self.ticks = _log_ticks(low, high) if self.is_log else _ticks(high)
        self.low = self._place(min(low, self.ticks[0]))
        self.high = self._place(max(high, self.ticks[-1]))

    def x(self, day: date) -> float:
        span = max(1, (self.last - self.first).days)
        return LEFT + (WIDTH - LEFT - RIGHT) * (day - self.first).days / span

    def y(self, value: float) -> float:
        share = (self._place(value) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    def _place(self, value: float) -> float:
        return log10(value) if self.is_log else value


def _ticks(high: float) -> list[float]:
    """Round values from 0 to just above the highest."""
    step = 10 ** floor(log10(high))
    for finer in (0.2, 0.25, 0.5, 1.0):
        if high / (step * finer) <= 6:
            step *= finer
            break
    return [step * index for index in range(ceil(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Values of the series 1, 2, 5 around the range."""
    series = [m * 10.0**e for e in range(-6, 7) for m in (1, 2, 5)]
    inner = [tick for tick in series if low <= tick <= high]
    below = max(tick for tick in series if tick <= low)
    above = min(tick for tick in series if tick >= high)
    return sorted({below, *inner, above})


def _title(chart: Chart) -> list[str]:
    if chart.is_right_to_left:
        return [_text(chart, (WIDTH - 8, 20), chart.title, "title", is_before=True)]
    return [_text(chart, (8, 20), chart.title, "title")]


def _text(
    chart: Chart, place: tuple[float, float], text: str, kind: str = "", *, is_before: bool = False
) -> str:
    """Text that begins at a place, or that ends there when it stands before it."""
    x, y = place
    is_reversed = chart.is_right_to_left
    anchor = "start" if is_before == is_reversed else "end"
    direction = "rtl" if is_reversed else "ltr"
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" direction="{direction}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def _grid(chart: Chart, scale: _Scale) -> list[str]:
    parts = []
    for tick in scale.ticks:
        y = scale.y(tick)
        is_even = chart.is_ratio and tick == 1
        parts.append(
            f'<line class="{"even" if is_even else "grid"}" x1="{LEFT}" x2="{WIDTH - RIGHT}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(_text(chart, (LEFT - 6, y + 4), chart.spell(tick), is_before=True))
    span = (scale.last - scale.first).days
    for index in range(3):
        day = date.fromordinal(scale.first.toordinal() + span * index // 2)
        if index == 0 or span >= 2:
            anchor = ("start", "middle", "end")[index]
            parts.append(
                f'<text x="{scale.x(day):.1f}" y="{HEIGHT - 12}" '
                f'text-anchor="{anchor}">{day.isoformat()}</text>'
            )
    return parts


def _band(chart: Chart, scale: _Scale) -> str:
    upper = [f"{scale.x(day):.1f},{scale.y(high):.1f}" for day, _, high in chart.band]
    lower = [f"{scale.x(day):.1f},{scale.y(low):.1f}" for day, low, _ in reversed(chart.band)]
    return f'<polygon class="band f0" points="{" ".join(upper + lower)}"/>'


def _line(series: Series, scale: _Scale) -> list[str]:
    parts = []
    for run in _runs(series.points):
        places = [f"{scale.x(day):.1f},{scale.y(value):.1f}" for day, value in run]
        parts.append(f'<polyline class="line c{series.index}" points="{" ".join(places)}"/>')
    if len(series.points) <= MAX_DOTS:
        for day, value in series.points:
            x, y = scale.x(day), scale.y(value)
            parts.append(f'<circle class="f{series.index}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>')
    return parts


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """A series cut where days are missing: no line is drawn over what nobody measured."""
    steps = [(after - before).days for (before, _), (after, _) in pairwise(points)]
    runs = [[*points[:1]]]
    for step, point in zip(steps, points[1:], strict=True):
        if step > GAP * median(steps):
            runs.append([])
        runs[-1].append(point)
    return [run for run in runs if len(run) > 1]


def _ahead(ahead: tuple[date, float, float], scale: _Scale) -> str:
    day, low, high = ahead
    x = scale.x(day)
    return (
        f'<line class="ahead" x1="{x:.1f}" x2="{x:.1f}" '
        f'y1="{scale.y(low) + 3:.1f}" y2="{scale.y(high) - 3:.1f}"/>'
    )


def _names(chart: Chart, scale: _Scale) -> list[str]:
    """The last value and the name of each line, at its end, pushed apart where they would touch."""
    ends = sorted(chart.series, key=lambda series: -series.points[-1][1])
    parts, lowest = [], 0.0
    for series in ends:
        x, y = WIDTH - RIGHT + 10, max(scale.y(series.points[-1][1]), lowest)
        lowest = y + 30
        value = chart.spell(series.points[-1][1])
        parts.append(_text(chart, (x, y), value, f"f{series.index}"))
        parts.append(_text(chart, (x, y + 14), series.name, f"f{series.index}"))
    return parts
