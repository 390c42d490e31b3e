"""Capturing in tests: a clock that is set, waits that are noted, and a listener that listens."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from wazn.weigh.capture import Capture, Summary
from wazn.weigh.folders import Folders
from wazn.weigh.sources import Source
from wazn.weigh.sources.client import Pace

MORNING = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)


@dataclass
class Observer:
    """Captures into a home, at a time that tests move."""

    home: Path
    now: datetime = MORNING
    waits: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    on_ask: Callable[[str], None] = lambda what: None

    @property
    def folders(self) -> Folders:
        return Folders(self.home)

    def asking(self, what: str, num_done: int, num_waiting: int) -> None:
        self.asked.append(what)
        self.on_ask(what)

    def capture(self, source: Source, *, partial: bool = False) -> Summary:
        pace = Pace(self.waits.append, lambda: self.now, self.said.append)
        return Capture(source, self.folders, pace, self).run(partial=partial)

    def values(self, metric: str) -> dict[tuple[str, date], float]:
        """What the store has of a metric: of each entity and day the value captured last."""
        rows = self.folders.store.connect().execute(
            "SELECT entity, as_of, arg_max(value, captured_at) FROM observations "
            "WHERE metric = ? GROUP BY ALL ORDER BY ALL",
            [metric],
        )
        return {(entity, day): value for entity, day, value in rows.fetchall()}

    def num_stored(self) -> int:
        row = self.folders.store.connect().execute("SELECT count(*) FROM observations").fetchone()
        assert row is not None
        return int(row[0])
