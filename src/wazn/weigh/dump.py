"""A dump of the Hub's listing in Parquet, one row a repository, as the table `readings`.

Columns are found by their names in the Hub's own spelling or in that of its dumps: `id`;
`downloads` or `downloads_30d`; `downloadsAllTime` or `downloads_all_time`; `pipeline_tag`;
`createdAt` or `created_at`; `tags`, whose `base_model:` entries give the lineage. A lens whose
columns are missing is refused by name. Nothing of a dump is stored.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from wazn.errors import BadFile, BadRequest
from wazn.weigh.counting import By, Line, count
from wazn.weigh.lens import Lens, Reading

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DEFINITION = "hub-api"
SOURCE = "dump"

_SPELLINGS = {
    "downloads_30d": ("downloads", "downloads_30d"),
    "downloads_all_time": ("downloadsAllTime", "downloads_all_time"),
    "pipeline": ("pipeline_tag",),
    "created": ("createdAt", "created_at"),
    "tags": ("tags",),
}
_BASE_TAG = "base_model:"
_BASE = rf"{_BASE_TAG}(?:[a-z]+:)?([^\s,\]\"'']+/[^\s,\]\"'']+)"


def require_one_row_each(connection: DuckDBPyConnection, path: Path) -> None:
    """Raise BadFile for a dump that lists a repository twice, which would count it twice."""
    columns = _columns(connection, path)
    if "id" not in columns:
        raise BadFile(f"{path} has no column id; a dump has one row for each repository.")
    row = connection.execute(
        f"SELECT count(*), count(DISTINCT id) FROM {_reader(path)} WHERE id IS NOT NULL"
    ).fetchone()
    if row is not None and row[0] != row[1]:
        raise BadFile(
            f"{path} has {row[0]:,} rows for {row[1]:,} repositories; keep one row for each."
        )


def is_for_dumps(lens: Lens) -> bool:
    """Whether one snapshot of the Hub's listing can answer a lens."""
    of_listing = any(reading.definition == DEFINITION for reading in lens.readings)
    return of_listing and lens.counter != "increase" and lens.metric in _SPELLINGS


def line_of_dump(
    connection: DuckDBPyConnection, path: Path, lens: Lens, by: By, day: date
) -> Line | None:
    """The line of a lens over a dump taken on `day`; None when nothing in it is counted.

    Raises BadFile for a file that is no such dump and BadRequest for a lens that one cannot answer.
    """
    import duckdb

    if not is_for_dumps(lens):
        raise BadRequest(f"lens {lens.id} cannot be answered by one dump of the Hub.")
    reading = next(one for one in lens.readings if one.definition == DEFINITION)
    try:
        _create_readings(connection, path, lens, reading, day)
        snapshots = count(connection, lens, reading, by)
    except (duckdb.ConversionException, duckdb.BinderException, duckdb.IOException) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise BadFile(f"{path} cannot be read as a dump of the Hub: {reason}.") from None
    return Line(lens, reading, SOURCE, snapshots) if snapshots else None


def _create_readings(
    connection: DuckDBPyConnection, path: Path, lens: Lens, reading: Reading, day: date
) -> None:
    columns = _columns(connection, path)

    def column(name: str) -> str:
        for spelling in _SPELLINGS.get(name, (name,)):
            if spelling in columns:
                return f'"{spelling}"'
        wanted = " or ".join(_SPELLINGS.get(name, (name,)))
        raise BadFile(f"{path} has no column {wanted}, which lens {lens.id} needs.")

    is_dated = reading.created_after is not None or lens.max_age_days is not None
    pipeline = column("pipeline") if reading.pipelines else "NULL::VARCHAR"
    created = f"CAST({column('created')} AS DATE)" if is_dated else "NULL::DATE"
    base = "NULL::VARCHAR"
    if lens.country_rule == "lineage":
        tags = column("tags")
        if columns[tags.strip('"')].endswith("[]"):  # a list; else its text, which takes longer
            tags = f"list_filter({tags}, lambda tag: starts_with(tag, '{_BASE_TAG}'))[1]"
        found = f"regexp_extract({tags}::VARCHAR, '{_BASE}', 1)"
        base = f"CASE WHEN {found} <> '' THEN 'hf:' || {found} END"
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW readings AS SELECT DATE '{day}' AS as_of, "
        f"'hf:' || {column('id')} AS entity, CAST({column(lens.metric)} AS DOUBLE) AS value, "
        f"{pipeline} AS pipeline, {base} AS base, {created} AS created, "
        "as_of AS read_on, NULL::TIMESTAMP AS captured_at, NULL::VARCHAR AS raw_sha256 "
        f"FROM {_reader(path)} WHERE {column(lens.metric)} >= 0 AND {column('id')} IS NOT NULL"
    )


def _columns(connection: DuckDBPyConnection, path: Path) -> dict[str, str]:
    """The names and types of a dump's columns."""
    import duckdb

    try:
        rows = connection.execute(f"DESCRIBE FROM {_reader(path)}").fetchall()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise BadFile(f"{path} cannot be read as a dump in Parquet: {reason}.") from None
    return {str(row[0]): str(row[1]) for row in rows}


def _reader(path: Path) -> str:
    place = str(path).replace("'", "''")
    return f"read_parquet('{place}')"
