"""One step ahead of a ratio, with an interval that is held against every earlier step.

The logarithm of the ratio, once a step, is extrapolated by exponential smoothing with a damped
trend (statsmodels). The interval comes from the errors that the same method made before, not from
its own assumptions: an error is measured in units of the recent errors' size, and the share of
steps to cover is corrected after every hit and miss (adaptive conformal inference, Gibbs and
Candès 2021), because download counters change their habits. Every figure of a back-test uses what
was known at its origin and nothing later.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.util import find_spec
from itertools import pairwise, starmap
from math import exp, log
from statistics import fmean, median

from wazn.errors import BadRequest

NOMINAL = 0.8
MIN_ORIGINS = 20
"""Fewer independent origins say nothing about coverage: 16 hits of 20 already mean 56 to 94 %."""

SHORTEST_STEP = 7
"""Days between points; daily counters are thinned to weeks, whose errors are independent."""

WARM_UP = 8
"""Points before the first origin, and errors before the first interval."""

DECAY = 0.7
"""Weight of the old size of errors against the newest one."""

CORRECTION = 0.1
"""How far one hit or miss moves the share to cover. DECAY and CORRECTION were chosen on the first
60 % of the origins of 15 pairs of Ollama's library, where intervals held 80 % of 328 origins; of
the 299 that came after, they held 84 % (July 2025 to August 2026)."""

FIT_SHARE = 0.6

Point = tuple[date, float]


@dataclass(frozen=True, slots=True)
class Trial:
    """One origin of a back-test: what was forecast for `day`, and what came. Ratios.

    The interval is None while there are too few errors to base one on.
    """

    day: date
    forecast: float
    actual: float
    interval: tuple[float, float] | None

    @property
    def is_covered(self) -> bool:
        return self.interval is not None and self.interval[0] <= self.actual <= self.interval[1]

    @property
    def error(self) -> float:
        """How far off the forecast was, as a share of what came."""
        return abs(self.forecast / self.actual - 1)


@dataclass(frozen=True, slots=True)
class Backtest:
    """All origins of one series, oldest first; they do not overlap."""

    trials: tuple[Trial, ...]

    @property
    def is_enough(self) -> bool:
        return len(self.trials) >= MIN_ORIGINS

    @property
    def held_out(self) -> tuple[Trial, ...]:
        """The last 40 % of the origins, which no choice of a constant has seen."""
        return self.trials[int(len(self.trials) * FIT_SHARE) :]

    @property
    def error(self) -> float:
        """Mean error over all origins, as a share."""
        return fmean(trial.error for trial in self.trials)

    @property
    def coverage(self) -> float:
        """Share of the held-out origins whose interval held what came."""
        return fmean(trial.is_covered for trial in self.held_out)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The ratio expected on `day`, its interval, and the back-test that the interval stands on."""

    day: date
    step_days: int
    ratio: float
    low: float
    high: float
    backtest: Backtest


def forecast(series: Sequence[Point]) -> Forecast | int:
    """The next step of a series of ratios; or, with fewer than MIN_ORIGINS independent origins,
    only their number: too few to say how wrong a forecast would be.

    Raises BadRequest when statsmodels is not installed.
    """
    step, points = to_steps(series)
    num_origins = max(0, len(points) - WARM_UP)
    if num_origins < MIN_ORIGINS:
        return num_origins
    if not can_forecast():
        raise BadRequest(
            "a forecast needs statsmodels, which is not installed: pip install 'wazn[forecast]'."
        )
    logs = [log(ratio) for _, ratio in points]
    expected = [_next(logs[:at]) for at in range(WARM_UP, len(logs))]
    widths = _widths([came - middle for came, middle in zip(logs[WARM_UP:], expected, strict=True)])
    trials = tuple(starmap(_trial, zip(points[WARM_UP:], expected, widths[:-1], strict=True)))
    middle, width = _next(logs), widths[-1]
    assert width is not None
    return Forecast(
        day=points[-1][0] + timedelta(days=step),
        step_days=step,
        ratio=exp(middle),
        low=exp(middle - width),
        high=exp(middle + width),
        backtest=Backtest(trials),
    )


def can_forecast() -> bool:
    """Whether statsmodels is installed; nothing is imported to find out."""
    return find_spec("statsmodels") is not None


def to_steps(series: Sequence[Point]) -> tuple[int, list[Point]]:
    """A series at equal steps that end on its last day, and the step in days.

    The step is the usual one of the series, at least SHORTEST_STEP; between points the logarithm
    is interpolated, so a missing day is no step of its own.
    """
    if len(series) < 2:
        return SHORTEST_STEP, list(series)
    usual = median((after - before).days for (before, _), (after, _) in pairwise(series))
    step = max(SHORTEST_STEP, round(usual))
    num_steps = (series[-1][0] - series[0][0]).days // step
    days = [series[-1][0] - timedelta(days=step * back) for back in range(num_steps, -1, -1)]
    return step, [(day, _interpolated(series, day)) for day in days]


def _interpolated(series: Sequence[Point], day: date) -> float:
    for (before, low), (after, high) in pairwise(series):
        if before <= day <= after:
            share = (day - before).days / (after - before).days
            return exp((1 - share) * log(low) + share * log(high))
    raise ValueError(f"{day} is outside the series")


def _next(logs: Sequence[float]) -> float:
    """The next point of a series of logarithms."""
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    if max(logs) == min(logs):  # a series that stands still has no trend to estimate
        return logs[-1]
    with warnings.catch_warnings():  # a fit that stops early is still judged by the back-test
        warnings.simplefilter("ignore")
        model = ExponentialSmoothing(
            logs, trend="add", damped_trend=True, initialization_method="estimated"
        )
        return float(model.fit(method="SLSQP", use_brute=False).forecast(1)[0])


def _widths(errors: Sequence[float]) -> list[float | None]:
    """Half the width of the interval before each error, and of the one after the last."""
    widths: list[float | None] = []
    scaled: list[float] = []
    size, missed = abs(errors[0]), 1 - NOMINAL
    for index, error in enumerate([*errors, None]):
        width = None
        if index >= WARM_UP:
            width = _quantile(scaled, 1 - missed) * size
        widths.append(width)
        if error is None:
            break
        if width is not None:
            missed += CORRECTION * ((1 - NOMINAL) - (abs(error) > width))
        if index:
            scaled.append(abs(error) / max(size, 1e-12))
            size = DECAY * size + (1 - DECAY) * abs(error)
    return widths


def _quantile(values: Sequence[float], share: float) -> float:
    """A quantile by linear interpolation; above all of them, half as much again as the largest."""
    ordered = sorted(values)
    if share > 1:
        return ordered[-1] * 1.5
    place = max(share, 0.0) * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _trial(point: Point, middle: float, width: float | None) -> Trial:
    """``middle``: the logarithm of what was expected."""
    day, actual = point
    interval = None if width is None else (exp(middle - width), exp(middle + width))
    return Trial(day, exp(middle), actual, interval)
