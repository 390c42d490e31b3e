"""Faults in what is stored, and which of them a capture has brought: SQL finds suspects, the rules
of `faults` judge them.

Only series in which two neighbours are suspiciously far apart are read out, so that a snapshot of
two million repositories is compared with the one before in seconds. Knows the store; knows no
source by name.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, NamedTuple

from wazn.weigh.faults import (
    FALL_WORTH_NAMING,
    JUMP,
    WORTH_NAMING,
    Fault,
    absences,
    counter_of,
    find_faults,
    find_fixtures,
    find_renames,
    missing_days,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Counted:
    """A line of numbers: one metric, as one source counts it under one definition."""

    source: str
    definition: str
    metric: str


def new_faults(
    connection: DuckDBPyConnection,
    counted: Counted,
    began: datetime,
    day: date,
    complete_for: frozenset[str] | None,
) -> list[Fault]:
    """The faults that are seen since the capture that began then (UTC) and stands for `day`.

    `complete_for`: the lower-case publishers of whom everything is listed, None for all.
    """
    began = began.astimezone(UTC).replace(tzinfo=None)  # as DuckDB keeps times
    _load(connection, counted)
    now = faults_of_line(connection, counted, None)
    before = set(faults_of_line(connection, counted, began))
    found = [fault for fault in now if fault not in before]
    values = dict(connection.execute(_THESE, [day]).fetchall())
    found += _gone(connection, counted, values, day, complete_for)
    return found + find_fixtures(counted.metric, values, day)


def all_faults(connection: DuckDBPyConnection) -> list[tuple[Counted, Fault]]:
    """Every fault of every line of counters in the view `observations`."""
    lines = connection.execute(
        "SELECT DISTINCT source, definition, metric FROM observations ORDER BY ALL"
    ).fetchall()
    found = []
    for counted in (Counted(*line) for line in lines):
        if counter_of(counted.metric) is not None:
            _load(connection, counted)
            found += [(counted, fault) for fault in faults_of_line(connection, counted, None)]
    return found


class StoredLine(NamedTuple):
    """What is stored of one metric; properties are told together."""

    source: str
    definition: str
    metric: str
    first: date
    last: date
    num_days: int
    num_rows: int


def stored_lines(connection: DuckDBPyConnection) -> list[StoredLine]:
    """Everything in the view `observations`, by source, definition and metric."""
    rows = connection.execute(
        "SELECT source, definition, "
        "CASE WHEN metric LIKE 'is:%' THEN split_part(metric, '=', 1) ELSE metric END AS told, "
        "min(as_of), max(as_of), count(DISTINCT as_of), count(*) FROM observations "
        "GROUP BY source, definition, told ORDER BY source, definition, told"
    ).fetchall()
    return [StoredLine(*row) for row in rows]


def _load(connection: DuckDBPyConnection, counted: Counted) -> None:
    """Create `line(entity, as_of, value, captured_at)`: everything told, restatements included."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE line AS SELECT entity, as_of, value, captured_at "
        "FROM observations WHERE source = ? AND definition = ? AND metric = ?",
        [counted.source, counted.definition, counted.metric],
    )


def faults_of_line(
    connection: DuckDBPyConnection, counted: Counted, until: datetime | None
) -> list[Fault]:
    """The faults of the table `line`, as far as it was captured before `until`."""
    counter = counter_of(counted.metric)
    if counter is None:
        return []
    limit = "" if until is None else f"WHERE captured_at < TIMESTAMP '{until}'"
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE told AS SELECT entity, as_of, "
        f"arg_max(value, captured_at) AS value FROM line {limit} GROUP BY entity, as_of"
    )
    series: dict[str, list[tuple[date, float]]] = defaultdict(list)
    suspects = connection.execute(_SUSPECTS, [JUMP, WORTH_NAMING, 1 - FALL_WORTH_NAMING])
    for entity, day, value in suspects.fetchall():
        series[entity].append((day, value))
    faults = [
        fault
        for entity, points in series.items()
        for fault in find_faults(entity, counted.metric, points, counter)
    ]
    return faults + _missing(connection, counted)


_SUSPECTS = """
WITH paired AS (
    SELECT *, lag(value) OVER (PARTITION BY entity ORDER BY as_of) AS old FROM told
), suspect AS (
    SELECT DISTINCT entity FROM paired
    WHERE (greatest(value, old) >= ? * greatest(least(value, old), 1) AND greatest(value, old) >= ?)
       OR value < ? * old
)
SELECT entity, as_of, value FROM told JOIN suspect USING (entity) ORDER BY entity, as_of
"""


def _missing(connection: DuckDBPyConnection, counted: Counted) -> list[Fault]:
    """Days without a snapshot, and snapshots without an entity that was worth naming."""
    days = [day for (day,) in connection.execute(_DAYS).fetchall()]
    faults = missing_days(f"{counted.source}:{counted.definition}", counted.metric, days)
    lacking = connection.execute(_LACKING, [WORTH_NAMING]).fetchall()
    for entity, own_days in lacking:
        faults += absences(entity, counted.metric, own_days, days)
    return faults


_DAYS = "SELECT DISTINCT as_of FROM told ORDER BY as_of"

_LACKING = """
WITH days AS (
    SELECT as_of, row_number() OVER (ORDER BY as_of) AS number
    FROM (SELECT DISTINCT as_of FROM told)
)
SELECT entity, list(as_of ORDER BY as_of) FROM told JOIN days USING (as_of) GROUP BY entity
HAVING max(number) - min(number) + 1 > count(*) AND max(value) >= ? ORDER BY entity
"""


def _gone(
    connection: DuckDBPyConnection,
    counted: Counted,
    after: dict[str, float],
    day: date,
    complete_for: frozenset[str] | None,
) -> list[Fault]:
    """Renamed and vanished: of every publisher, or of all, the snapshot before against this."""
    scope = "''" if complete_for is None else _PUBLISHER
    rows = connection.execute(_THOSE.format(scope=scope), [day]).fetchall()
    before = {
        entity: value
        for entity, publisher, value in rows
        if complete_for is None or publisher in complete_for
    }
    return find_renames(counted.metric, before, after, day) if after else []


_PUBLISHER = "lower(split_part(split_part(entity, ':', 2), '/', 1))"
_THESE = "SELECT entity, arg_max(value, captured_at) FROM line WHERE as_of = ? GROUP BY entity"
_THOSE = """
SELECT entity, {scope} AS publisher, value FROM line WHERE as_of < ?
QUALIFY as_of = max(as_of) OVER (PARTITION BY {scope})
    AND captured_at = max(captured_at) OVER (PARTITION BY entity, as_of)
"""
