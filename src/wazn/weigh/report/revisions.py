"""What was restated: observations of the store that say two things about the same day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from wazn.weigh.store import VIEW, ObservationStore

MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Restated:
    """One figure that a source gave twice, differently; the later value is the one that counts."""

    entity: str
    metric: str
    day: date
    source: str
    before: float
    after: float
    captured_at: datetime


@dataclass(frozen=True, slots=True)
class Revisions:
    """The largest restatements, and how many there are in all."""

    shown: list[Restated]
    num_all: int
    num_observations: int


def revisions(store: ObservationStore) -> Revisions:
    """The restatements of a store, the largest differences first."""
    connection = store.connect()
    rows = connection.execute(
        "SELECT entity, metric, as_of, source, arg_min(value, captured_at) AS before, "
        "arg_max(value, captured_at) AS after, max(captured_at), count(*) OVER () "
        f"FROM {VIEW} GROUP BY entity, metric, as_of, source, definition HAVING count(*) > 1 "
        "ORDER BY abs(after - before) DESC, entity LIMIT ?",
        [MAX_SHOWN],
    ).fetchall()
    counted = connection.execute(f"SELECT count(*) FROM {VIEW}").fetchone()
    return Revisions(
        shown=[Restated(*row[:7]) for row in rows],
        num_all=int(rows[0][7]) if rows else 0,
        num_observations=int(counted[0]) if counted else 0,
    )
