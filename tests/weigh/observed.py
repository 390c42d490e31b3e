"""Observations by hand, for stores of tests."""

from collections.abc import Mapping
from datetime import UTC, date, datetime

from wazn.weigh.observation import Observation, unit_of

CAPTURED = datetime(2026, 1, 1, tzinfo=UTC)


def observed(
    entity: str, metric: str, value: float, day: date, definition: str = "hub-api"
) -> Observation:
    """One observation of the source `test`."""
    return Observation(
        *(entity, metric, value, unit_of(metric), day, CAPTURED, "test", definition, "0" * 64)
    )


def snapshot(
    day: date, downloads: Mapping[str, float], definition: str = "osir-atom-listed"
) -> list[Observation]:
    """The 30-day downloads of repositories (without `hf:`) on a day."""
    return [
        observed(f"hf:{name}", "downloads_30d", value, day, definition)
        for name, value in downloads.items()
    ]
