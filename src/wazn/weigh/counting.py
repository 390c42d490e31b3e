"""From observations to totals: one lens, one definition, one source, snapshot by snapshot.

All arithmetic over entities happens here, in SQL, for every lens alike: choose the universe, say
whose each entity is, apply the outlier rules entity by entity, add up by group. A line of totals
never mixes two definitions or two sources. Knows nothing of who leads.

The SQL stands on one table, `readings(as_of, entity, value, pipeline, base, created, read_on,
captured_at, raw_sha256)`, which comes from the store (here) or from a dump of the Hub (`dump.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from wazn.weigh.attribution import UNKNOWN, create_tables, families
from wazn.weigh.faults import WORTH_NAMING, Counter, clean, find_faults
from wazn.weigh.lens import Lens, Reading
from wazn.weigh.panel import MACROS, Series, create_panel, create_presence

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

By = Literal["country", "lab", "family", "model"]

CAP = 10.0
"""The rule `capped` counts an entity for at most this many times its own median."""

FIXTURES = r"(^|:)[^/]*-internal-testing(/|$)|/tiny-random[-_]|/tiny-[a-z0-9]+for[a-z]"
"""Repositories that only tests load, in no universe (lower case; see `faults.is_test_fixture`)."""

MAX_GROUPS = 200
"""Groups kept of a snapshot, the largest first; the sum over all groups is kept beside them."""


class Group(NamedTuple):
    """What a group sums up to in one snapshot, under each rule that works entity by entity."""

    total: float
    num_entities: int
    top_entity: str
    top_value: float
    capped: float
    without_faults: float


class Row(NamedTuple):
    """One reading behind a figure, and the day it is of; of a dump it has no capture of its own."""

    group: str
    entity: str
    value: float
    day: date
    captured_at: datetime | None
    raw_sha256: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The groups of a day, largest first, and the sum over all of them."""

    day: date
    groups: dict[str, Group]
    total: float


@dataclass(frozen=True, slots=True)
class Line:
    """Snapshots, by day, that one source counted under one definition for one lens."""

    lens: Lens
    reading: Reading
    source: str
    snapshots: list[Snapshot]


def lines_of_store(
    connection: DuckDBPyConnection, lens: Lens, by: By, last_day: date
) -> Iterator[Line]:
    """The lines of a lens over the view `observations`, up to a day."""
    for reading in lens.readings:
        if reading.of_publishers and by in ("family", "model"):
            continue
        sources = connection.execute(
            "SELECT DISTINCT source FROM observations "
            "WHERE metric = ? AND definition = ? AND as_of <= ? ORDER BY source",
            [lens.metric, reading.definition, last_day],
        ).fetchall()
        for (source,) in sources:
            _load_readings(connection, lens, reading, source, last_day)
            snapshots = count(connection, lens, reading, by)
            if snapshots:
                yield Line(lens, reading, source, snapshots)


def count(connection: DuckDBPyConnection, lens: Lens, reading: Reading, by: By) -> list[Snapshot]:
    """The snapshots of the table `readings` under a lens, by day.

    Regions are those in force on the last day, so that a change of the map makes no jump in a line.
    """
    days = [day for (day,) in connection.execute(_DAYS).fetchall()]
    if not days:
        return []
    create_tables(connection, days[-1])
    _name_entities(connection, lens, reading)
    _find_faulty(connection, lens, len(days))
    rows = connection.execute(_totals(lens, by, len(days)), [MAX_GROUPS]).fetchall()
    snapshots: dict[date, Snapshot] = {}
    for day, group, sum_of_all, *figures in rows:
        snapshot = snapshots.setdefault(day, Snapshot(day, {}, sum_of_all))
        snapshot.groups[group] = Group(*figures)
    return list(snapshots.values())


_DAYS = "SELECT DISTINCT as_of FROM readings ORDER BY as_of"


def _load_readings(
    connection: DuckDBPyConnection, lens: Lens, reading: Reading, source: str, last_day: date
) -> None:
    """Create `readings` from the store: of what was restated, the value captured last; of a
    publisher that is missing for a few days, what was read of it last."""
    own = Series(lens.metric, reading.definition, source, last_day)
    first_day = date.min
    if lens.panel_days is not None:
        definition = reading.panel_from or reading.definition
        create_presence(connection, own._replace(definition=definition))
        first_day = create_panel(connection, lens.panel_days)
    create_presence(connection, own)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE readings AS "
        "SELECT presence.as_of, entity, arg_max(value, captured_at) AS value, read_on, "
        "max(captured_at) AS captured_at, arg_max(raw_sha256, captured_at) AS raw_sha256 "
        "FROM presence JOIN observations told "
        "ON told.as_of = read_on AND publisher_of(entity) = publisher "
        "WHERE metric = ? AND definition = ? AND source = ? AND presence.as_of >= ? "
        + ("AND publisher IN (FROM panel) " if lens.panel_days else "")
        + "GROUP BY presence.as_of, entity, read_on",
        [lens.metric, reading.definition, source, first_day],
    )
    connection.execute(_WITH_PROPERTIES, [source])


_WITH_PROPERTIES = """
CREATE OR REPLACE TEMP TABLE readings AS
SELECT readings.*, pipeline, base, created
FROM readings LEFT JOIN (
    SELECT entity,
           arg_max(split_part(metric, '=', 2), as_of) FILTER (metric LIKE 'is:pipeline=%') pipeline,
           arg_max(split_part(metric, '=', 2), as_of) FILTER (metric LIKE 'is:base=%') base,
           DATE '1970-01-01' + least(max(value) FILTER (metric = 'created'), 99999)::INTEGER created
    FROM observations
    WHERE source = ? AND (metric = 'created' OR metric LIKE 'is:%')
    GROUP BY entity
) USING (entity)
"""


def _name_entities(connection: DuckDBPyConnection, lens: Lens, reading: Reading) -> None:
    """Create the view `placed`: the readings of the universe, and whose each of them is."""
    connection.execute(MACROS)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE pulled AS SELECT name, "
        "arg_max(region, length(prefix)) AS region, arg_max(lab, length(prefix)) AS lab "
        "FROM (SELECT DISTINCT name_of(entity) AS name FROM readings WHERE entity LIKE 'ollama:%') "
        "JOIN prefixes ON starts_with(name, prefix) GROUP BY name"
    )
    owner = "coalesce(base, entity)" if lens.country_rule == "lineage" else "entity"
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW placed AS "
        "SELECT as_of, entity, value, read_on, captured_at, raw_sha256, "
        f"coalesce(listed.region, pulled.region, '{UNKNOWN}') AS region, "
        f"coalesce(listed.lab, pulled.lab, publisher_of({owner})) AS lab "
        "FROM readings "
        f"LEFT JOIN publishers listed ON listed.namespace = split_part({owner}, ':', 1) "
        f"AND listed.publisher = publisher_of({owner}) "
        "LEFT JOIN pulled ON entity LIKE 'ollama:%' AND pulled.name = name_of(entity) "
        f"WHERE {' AND '.join(_filters(lens, reading))}"
    )


def _filters(lens: Lens, reading: Reading) -> Iterator[str]:
    """The conditions of a universe, in SQL. Their texts come from the package's own files."""
    hint = "contains(lower(entity), 'tiny-') OR contains(lower(entity), '-internal-testing')"
    yield f"NOT (({hint}) AND regexp_matches(lower(entity), '{FIXTURES}'))"
    if reading.pipelines:
        names = ", ".join(f"'{name}'" for name in reading.pipelines)
        yield f"pipeline IN ({names})"
    if reading.exclude:
        yield f"NOT regexp_matches(name_of(entity), '{reading.exclude}')"
    if reading.listed_publishers:
        yield f"coalesce(listed.region, '{UNKNOWN}') <> '{UNKNOWN}'"
    if reading.created_after is not None:
        yield f"created > DATE '{reading.created_after}'"
    if lens.max_age_days is not None:
        yield f"created >= as_of - {lens.max_age_days}"


def rows_behind(connection: DuckDBPyConnection, line: Line, by: By, groups: list[str]) -> list[Row]:
    """Every reading behind the last snapshot of a line, for some groups, largest first.

    To be asked while the line is the one that was counted last.
    """
    marks = ", ".join("?" for _ in groups)
    rows = connection.execute(
        f"SELECT {_group(by)} AS grouping_name, entity, value, read_on, captured_at, raw_sha256 "
        "FROM placed "
        f"WHERE as_of = ? AND grouping_name IN ({marks}) ORDER BY value DESC, entity",
        [line.snapshots[-1].day, *groups],
    ).fetchall()
    return [Row(*row) for row in rows]


def _find_faulty(connection: DuckDBPyConnection, lens: Lens, num_days: int) -> None:
    """Create `faulty(entity, as_of)`: the readings that a spike or a dip covers.

    Of fewer than three days nothing of the kind can be known.
    """
    connection.execute("CREATE OR REPLACE TEMP TABLE faulty (entity VARCHAR, as_of DATE)")
    if num_days < 3:
        return
    counter: Counter = "window" if lens.counter == "window" else "total"
    suspects = connection.execute(
        "SELECT entity, list((as_of, value) ORDER BY as_of) FROM placed GROUP BY entity "
        "HAVING count(*) >= 3 AND max(value) >= ?",
        [WORTH_NAMING],
    ).fetchall()
    faulty = []
    for entity, points in suspects:
        kept = set(clean(points, find_faults(entity, lens.metric, points, counter)))
        faulty += [(entity, day) for day, value in points if (day, value) not in kept]
    if faulty:
        entities, days = zip(*faulty, strict=True)
        connection.execute(
            "INSERT INTO faulty SELECT unnest(?::VARCHAR[]), unnest(?::DATE[])",
            [list(entities), list(days)],
        )


def _totals(lens: Lens, by: By, num_days: int) -> str:
    """The statement that adds up by group; one row a day and group, as Snapshot and Group say."""
    value = "value"
    if lens.counter == "increase":
        value = "greatest(0, value - lag(value) OVER (PARTITION BY entity ORDER BY as_of))"
    cap = "value"
    if lens.counter == "window" and num_days >= 3:
        cap = f"least(value, {CAP} * median(value) OVER (PARTITION BY entity))"
    return f"""
    WITH counted AS (
        SELECT * REPLACE ({value} AS value) FROM placed
    ), capped AS (
        SELECT *, {cap} AS capped, (entity, as_of) IN (FROM faulty) AS is_faulty
        FROM counted WHERE value IS NOT NULL
    ), grouped AS (
        SELECT as_of, {_group(by)} AS grouping_name, sum(value) AS total, count(*) AS num_entities,
               arg_max(entity, value) AS top_entity, max(value) AS top_value,
               sum(capped) AS capped,
               coalesce(sum(value) FILTER (NOT is_faulty), 0) AS without_faults
        FROM capped GROUP BY ALL HAVING sum(value) > 0
    )
    SELECT as_of, grouping_name, sum(total) OVER (PARTITION BY as_of) AS sum_of_all,
           total, num_entities, top_entity, top_value, capped, without_faults
    FROM grouped
    QUALIFY row_number() OVER (PARTITION BY as_of ORDER BY total DESC, grouping_name) <= ?
    ORDER BY as_of, total DESC, grouping_name
    """


def _group(by: By) -> str:
    """What readings are added up by, in SQL over `placed`."""
    if by != "family":
        return {"country": "region", "lab": "lab", "model": "entity"}[by]
    cases = " ".join(
        f"WHEN regexp_matches(name_of(entity), '{pattern}') THEN '{family}'"
        for family, pattern in families()
    )
    return f"CASE {cases} ELSE 'other' END"
