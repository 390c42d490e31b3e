"""The best figures llama.cpp ever reached here, per file, version and threads.

A yardstick that a disturbed machine cannot fake: if llama.cpp itself is far below its own best on
the same file, the run says little about anybody. One small JSON file in the cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from wazn.errors import BadFile

MIN_SHARE_OF_BEST = 0.85


class Records:
    """Best rates (tokens per second) by task, such as "prefill 8", under one key."""

    def __init__(self, path: Path, key: str) -> None:
        """Raises BadFile if the file holds something else."""
        self._path = path
        self._key = key
        self._best = _read(path)

    def shortfalls(self, rates: Mapping[str, float]) -> list[str]:
        """A sentence for each rate below 85% of the best one recorded for its task."""
        best = self._best.get(self._key, {})
        return [
            f"llama.cpp reached {rate:.1f} tok/s in {task}, {rate / best[task]:.0%} of its best "
            f"on this file (limit {MIN_SHARE_OF_BEST:.0%})."
            for task, rate in rates.items()
            if task in best and rate < MIN_SHARE_OF_BEST * best[task]
        ]

    def update(self, rates: Mapping[str, float]) -> None:
        """Keep what is better than before."""
        best = self._best.setdefault(self._key, {})
        best.update({task: rate for task, rate in rates.items() if rate > best.get(task, 0.0)})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        aside.write_text(json.dumps(self._best, indent=2) + "\n", encoding="utf-8")
        aside.replace(self._path)


def record_key(model: Path, version: str, threads: int) -> str:
    """What figures must have in common to be compared: the file's content, version, threads."""
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{digest} llama.cpp {version}, {threads} threads"


def _read(path: Path) -> dict[str, dict[str, float]]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        value = None
    if not isinstance(value, dict) or not all(_is_rates(rates) for rates in value.values()):
        raise BadFile(f"{path} does not hold benchmark records; delete it and run again.")
    return value


def _is_rates(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(v, int | float) for v in value.values())
