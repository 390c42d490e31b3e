"""Where the observatory keeps things, below WAZN_HOME: `observations/`, and folders inside it.

The Parquet files of the store lie in `observations/` itself, raw responses in `raw/`, what was
asked and answered in each capture in `captures/`, captures that have not ended in `unfinished/`,
and rows of price catalogues in `prices/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wazn.weigh.raw import RawStore
from wazn.weigh.store import ObservationStore


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders below a home."""

    home: Path

    @property
    def observations(self) -> Path:
        return self.home / "observations"

    @property
    def store(self) -> ObservationStore:
        return ObservationStore(self.observations)

    @property
    def raw(self) -> RawStore:
        return RawStore(self.observations / "raw")

    @property
    def captures(self) -> Path:
        return self.observations / "captures"

    @property
    def unfinished(self) -> Path:
        return self.observations / "unfinished"

    @property
    def prices(self) -> Path:
        return self.observations / "prices"
