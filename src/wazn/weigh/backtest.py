"""How good forecasts have been, over every line and pair that has a history long enough.

The pairs are those of a question, and, so that one lucky series is not the whole evidence, each of
the larger groups by country and by family against the largest of its line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from wazn.weigh.counting import By, lines_of_store
from wazn.weigh.forecast import MIN_ORIGINS, NOMINAL, Backtest, forecast
from wazn.weigh.leaders import Rule, history
from wazn.weigh.store import ObservationStore
from wazn.weigh.weighing import Question
from wazn.weigh.words import share

MAX_PAIRS = 6
"""Pairs of one line and one grouping: the largest groups that have no name for unknown."""

_NOBODY = ("UNKNOWN", "OTHER", "other")


@dataclass(frozen=True, slots=True)
class Result:
    """One series: its name, and its back-test, or how many origins it has where those are few."""

    lens: str
    source: str
    first: str
    second: str
    tested: Backtest | int


def backtest(store: ObservationStore, question: Question) -> list[Result]:
    """Every series of the question's lenses up to its day."""
    groupings: tuple[By, ...] = ("country", "family")
    return [result for by in groupings for result in _results(store, question, by)]


def _results(store: ObservationStore, question: Question, by: By) -> Iterator[Result]:
    connection = store.connect()
    for lens in question.lenses:
        for line in lines_of_store(connection, lens, by, question.day):
            names = [name for name in line.snapshots[-1].groups if name not in _NOBODY]
            for first in names[1 : MAX_PAIRS + 1]:
                ahead = forecast(history(line, first, names[0], Rule.AS_COUNTED))
                tested = ahead if isinstance(ahead, int) else ahead.backtest
                yield Result(lens.id, line.source, first, names[0], tested)


def pooled_coverage(results: list[Result]) -> float | None:
    """Share of all held-out origins that their interval held; None without any."""
    covered = [t.is_covered for test in _enough(results) for t in test.held_out]
    return fmean(covered) if covered else None


def to_table(results: list[Result]) -> tuple[list[str], list[list[str]], str]:
    """Columns and rows for people, and a sentence that sums them up."""
    columns = ["lens", "source", "pair", "origins", "mean error", "held out", "coverage"]
    rows = []
    for one in results:
        name = [one.lens, one.source, f"{one.first}/{one.second}"]
        if isinstance(one.tested, int):
            rows.append([*name, str(one.tested), "too few", "-", "-"])
        else:
            figures = (share(one.tested.error), str(len(one.tested.held_out)))
            rows.append([*name, str(len(one.tested.trials)), *figures, share(one.tested.coverage)])
    coverage = pooled_coverage(results)
    if coverage is None:
        return columns, rows, f"No series has {MIN_ORIGINS} independent origins: too few."
    held_out = sum(len(test.held_out) for test in _enough(results))
    error = fmean(trial.error for test in _enough(results) for trial in test.trials)
    return (
        columns,
        rows,
        f"Intervals of nominally {NOMINAL:.0%} held {coverage:.1%} of the {held_out} origins held "
        f"out (the last 40% of each series); mean error over all origins {error:.2%}.",
    )


def to_object(results: list[Result]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "nominal": NOMINAL,
        "coverage_held_out": pooled_coverage(results),
        "series": [
            {
                "lens": one.lens,
                "source": one.source,
                "first": one.first,
                "second": one.second,
                "num_origins": one.tested
                if isinstance(one.tested, int)
                else len(one.tested.trials),
                "too_few": isinstance(one.tested, int),
                "mean_error": None if isinstance(one.tested, int) else one.tested.error,
                "coverage_held_out": None if isinstance(one.tested, int) else one.tested.coverage,
            }
            for one in results
        ],
    }


def _enough(results: list[Result]) -> list[Backtest]:
    return [one.tested for one in results if not isinstance(one.tested, int)]
