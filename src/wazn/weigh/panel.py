"""Who was there in a snapshot, and who was there in all of them.

A capture that failed for one publisher, or asked only for some, must not look like a publisher
whose downloads went to nothing: for a few days its last reading stands in. Knows the view
`observations`; knows nothing of countries.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CARRIED_DAYS = 7
"""How long the last reading of a publisher stands in for one that is missing."""

MACROS = """
CREATE OR REPLACE TEMP MACRO publisher_of(entity) AS
    lower(split_part(split_part(entity, ':', 2), '/', 1));
CREATE OR REPLACE TEMP MACRO name_of(entity) AS
    lower(regexp_extract(entity, '[^/:]*$'));
"""


class Series(NamedTuple):
    """The observations of one metric, definition and source up to a day."""

    metric: str
    definition: str
    source: str
    last_day: date


def create_presence(connection: DuckDBPyConnection, series: Series) -> None:
    """Create `presence(as_of, publisher, read_on)`: for each day of a series and each publisher
    that was read on it or within CARRIED_DAYS before, the day of that reading."""
    connection.execute(MACROS)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE presence AS WITH seen AS ("
        "SELECT DISTINCT as_of, publisher_of(entity) AS publisher FROM observations "
        "WHERE metric = ? AND definition = ? AND source = ? AND as_of <= ?"
        "), days AS (SELECT DISTINCT as_of FROM seen) "
        "SELECT days.as_of, publisher, max(seen.as_of) AS read_on FROM days JOIN seen "
        f"ON seen.as_of BETWEEN days.as_of - {CARRIED_DAYS} AND days.as_of "
        "GROUP BY days.as_of, publisher",
        [*series],
    )


def create_panel(connection: DuckDBPyConnection, num_days: int) -> date:
    """Create `panel(publisher)`: those present in every snapshot of the last `num_days`.

    Returns the first of these days. Stands on `presence`.
    """
    row = connection.execute("SELECT max(as_of) FROM presence").fetchone()
    last_day = date.max if row is None or row[0] is None else row[0]
    first_day: date = last_day - timedelta(days=num_days)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE panel AS "
        "WITH there AS (FROM presence WHERE as_of >= ?) "
        "SELECT publisher FROM there GROUP BY publisher "
        "HAVING count(*) = (SELECT count(DISTINCT as_of) FROM there)",
        [first_day],
    )
    return first_day
