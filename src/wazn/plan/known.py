"""Models that people ask for, known without a download: the facts of their configurations.

``known.json`` holds, for each name, the values of its ``config.json`` that decide size and speed,
where they were taken from, and, where one is known, the size that its files are published with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Published:
    """Bytes of a model's files in a format, and who says so."""

    format: str
    num_bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class Known:
    """One model of the table."""

    name: str
    title: str
    source: str
    config: Mapping[str, Any]
    published: tuple[Published, ...]


@cache
def known_models() -> Mapping[str, Known]:
    """The table, by name."""
    table = json.loads((files("wazn.plan") / "known.json").read_text(encoding="utf-8"))
    return {
        name: Known(
            name=name,
            title=entry["title"],
            source=entry["source"],
            config=entry["config"],
            published=tuple(
                Published(one["format"], one["bytes"], one["source"])
                for one in entry.get("published", ())
            ),
        )
        for name, entry in table.items()
    }
