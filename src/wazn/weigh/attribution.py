"""Who an entity belongs to: its publisher's region and lab, and the family its name speaks of.

The tables are data of this package (`regions/`): publishers by name space, Ollama's library by
prefix, families by pattern, and a dated log of changes to the first. A publisher that is in no
table is UNKNOWN, shown as such and never left out of a total. Region codes: CN, US, EU
(Europe-facing, not EU law), OTHER, UNKNOWN.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

UNKNOWN = "UNKNOWN"
REGIONS = ("CN", "US", "EU", "OTHER", UNKNOWN)


@dataclass(frozen=True, slots=True)
class Change:
    """A publisher that was put into another region on a day."""

    day: date
    namespace: str
    publisher: str
    before: str
    after: str
    reason: str
    source: str


def region_changes() -> list[Change]:
    """The log of changes to the map of publishers, oldest first."""
    rows = [
        Change(date.fromisoformat(row["date"]), *list(row.values())[1:]) for row in _rows("changes")
    ]
    return sorted(rows, key=lambda change: (change.day, change.publisher.lower()))


def publishers(namespace: str) -> list[str]:
    """The publishers of a name space (`hf`, `ms`) that the map knows, as they spell themselves."""
    return [row["publisher"] for row in _rows("publishers") if row["namespace"] == namespace]


def families() -> list[tuple[str, str]]:
    """Family and the pattern (for lower-case names without their publisher) that tells it."""
    return [(row["family"], row["pattern"]) for row in _rows("families")]


def create_tables(connection: DuckDBPyConnection, day: date) -> None:
    """Create `publishers` and `prefixes` in DuckDB, with the regions in force on `day`.

    `publishers(namespace, publisher, region, lab)` has lower-case publishers;
    `prefixes(prefix, region, lab)` is for names of Ollama's library, where the longest wins.
    """
    listed = {
        (row["namespace"], row["publisher"].lower()): [row["region"], row["lab"]]
        for row in _rows("publishers")
    }
    for change in region_changes():
        if change.day <= day:
            listed[change.namespace, change.publisher.lower()][0] = change.after
    for (namespace, publisher), place in [*listed.items()]:
        if namespace == "hf":  # most publishers go by the same name on ModelScope
            listed.setdefault(("ms", publisher), place)
    publishers = [(*key, *value) for key, value in listed.items()]
    _create(connection, "publishers(namespace, publisher, region, lab)", publishers)
    prefixes = [(row["prefix"], row["region"], row["lab"] or row["prefix"]) for row in _ollama()]
    _create(connection, "prefixes(prefix, region, lab)", prefixes)


def region_of_ollama(name: str) -> str:
    """The region of a model of Ollama's library; UNKNOWN where no prefix fits."""
    fitting = [row for row in _ollama() if name.startswith(row["prefix"])]
    return max(fitting, key=lambda row: len(row["prefix"]))["region"] if fitting else UNKNOWN


def _ollama() -> list[dict[str, str]]:
    return _rows("ollama")


def _rows(name: str) -> list[dict[str, str]]:
    text = (files("wazn.weigh") / "regions" / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _create(connection: DuckDBPyConnection, shape: str, rows: Sequence[tuple[str, ...]]) -> None:
    """Create a table of texts from its rows; `shape` is its name and columns."""
    name, _, columns = shape.rstrip(")").partition("(")
    spread = ", ".join(f"unnest(?::VARCHAR[]) AS {column}" for column in columns.split(", "))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT {spread}",
        [list(values) for values in zip(*rows, strict=True)],
    )
