"""Forecasts: steps, intervals that keep their promise, and silence where too little is known."""

from datetime import date, timedelta
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazn.weigh.backtest import backtest, pooled_coverage, to_table
from wazn.weigh.forecast import Forecast, Point, _quantile, _widths, forecast, to_steps
from wazn.weigh.lens import load_lenses
from wazn.weigh.store import ObservationStore
from wazn.weigh.weighing import Question

START = date(2025, 1, 1)


def walk(num_weeks: int, seed: int = 1, drift: float = 0.01) -> list[Point]:
    """A ratio that drifts, one point a week."""
    steps = np.random.default_rng(seed).normal(drift, 0.02, num_weeks)
    levels = np.exp(np.cumsum(steps))
    return [(START + timedelta(weeks=week), float(v)) for week, v in enumerate(levels)]


def test_too_few_origins_give_their_number_and_nothing_else() -> None:
    assert forecast([]) == 0
    assert forecast(walk(9)) == 1
    assert forecast(walk(27)) == 19
    assert isinstance(forecast(walk(28)), Forecast)


def test_a_forecast_is_one_step_ahead_and_lies_in_its_interval() -> None:
    series = walk(60)
    ahead = forecast(series)
    assert isinstance(ahead, Forecast)
    assert (ahead.day, ahead.step_days) == (series[-1][0] + timedelta(weeks=1), 7)
    assert ahead.low < ahead.ratio < ahead.high
    assert abs(ahead.ratio / series[-1][1] - 1) < 0.1


def test_a_trial_knows_nothing_of_what_came_after_it() -> None:
    series = walk(50)
    changed = [*series[:-1], (series[-1][0], series[-1][1] * 3)]
    first, second = forecast(series), forecast(changed)
    assert isinstance(first, Forecast)
    assert isinstance(second, Forecast)
    for one, other in zip(first.backtest.trials[:-1], second.backtest.trials[:-1], strict=True):
        assert one == other
    assert first.backtest.trials[-1].forecast == second.backtest.trials[-1].forecast
    assert not second.backtest.trials[-1].is_covered


def test_intervals_of_a_random_walk_cover_what_they_promise() -> None:
    held_out = [
        trial.is_covered
        for seed in range(4)
        for ahead in [forecast(walk(80, seed))]
        if isinstance(ahead, Forecast)
        for trial in ahead.backtest.held_out
    ]
    assert len(held_out) == 4 * 29
    assert 0.7 <= sum(held_out) / len(held_out) <= 0.9


def test_a_series_that_stands_still_stays_where_it_is() -> None:
    ahead = forecast([(day, 2.0) for day, _ in walk(40)])
    assert isinstance(ahead, Forecast)
    assert (ahead.low, ahead.ratio, ahead.high) == pytest.approx((2.0, 2.0, 2.0))


def test_a_daily_series_becomes_weeks_that_end_on_its_last_day() -> None:
    days = [(START + timedelta(days=day), exp(day / 100)) for day in range(30) if day != 15]
    step, points = to_steps(days)
    assert step == 7
    assert [(day - START).days for day, _ in points] == [1, 8, 15, 22, 29]
    assert points[2][1] == pytest.approx(exp(0.15))  # the missing day lies between its neighbours


def test_a_monthly_series_keeps_its_step() -> None:
    days = [(START + timedelta(days=30 * month), 1.0 + month) for month in range(5)]
    step, points = to_steps(days)
    assert step == 30
    assert [day for day, _ in points] == [day for day, _ in days]
    assert [ratio for _, ratio in points] == pytest.approx([ratio for _, ratio in days])


@given(
    st.lists(st.floats(0, 1e3), min_size=1, max_size=40),
    st.floats(0, 1),
)
def test_a_quantile_agrees_with_numpy(values: list[float], share: float) -> None:
    assert _quantile(values, share) == pytest.approx(float(np.quantile(values, share)))


def test_the_interval_widens_after_misses_and_narrows_after_hits() -> None:
    calm = [0.01, -0.01] * 10
    widths = _widths([*calm, 0.05, 0.05])
    assert widths[:8] == [None] * 8
    assert widths[-1] is not None
    assert widths[19] is not None
    assert widths[-1] > 2 * widths[19]


def test_intervals_on_the_public_series_cover_what_they_promise(
    series_store: ObservationStore,
) -> None:
    lens = load_lenses()["ollama-pulls"]
    results = backtest(series_store, Question(date(2026, 11, 1), [lens]))
    coverage = pooled_coverage(results)
    assert coverage is not None
    assert 0.7 <= coverage <= 0.9
    china = next(one for one in results if (one.first, one.second) == ("CN", "US"))
    assert not isinstance(china.tested, int)
    assert len(china.tested.trials) == 50
    assert 0.7 <= china.tested.coverage <= 0.9
    assert china.tested.error < 0.01
    assert f"held {coverage:.1%}" in to_table(results)[2]


def test_where_every_series_is_short_it_says_too_few(series_store: ObservationStore) -> None:
    lens = load_lenses()["hub-language-panel"]
    results = backtest(series_store, Question(date(2026, 11, 1), [lens]))
    _, rows, sentence = to_table(results)
    assert {row[4] for row in rows} == {"too few"}
    assert sentence == "No series has 20 independent origins: too few."
