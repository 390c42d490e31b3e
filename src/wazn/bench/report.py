"""The result of a run: one object for programs, the same figures as a table for people.

The object's shape is a contract: {"machine", "quiet", "contenders": [{"name", "version", "file",
"users": {"1": {"prefill_tok_s", "decode_tok_s"}}}], "ratios"}; keys may be added, never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from wazn.bench.ceilings import Ceilings
from wazn.bench.measure import Measurement
from wazn.bench.quiet import QuietMeter
from wazn.machine import Cpu


@dataclass(frozen=True, slots=True)
class Entrant:
    """A contender's name and version."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Run:
    """All that was measured. ``entrants``: wazn first. ``noise``: why the run does not count."""

    file: str
    threads: int
    cpu: Cpu
    entrants: Sequence[Entrant]
    measurements: Sequence[Measurement]
    ceilings: Ceilings
    work: Mapping[str, int]
    meter: QuietMeter
    noise: Sequence[str]


def to_object(run: Run) -> dict[str, Any]:
    """The run for ``wazn bench --json``: rates in tokens per second, shares from 0 to 1."""
    return {
        "machine": {
            "cpu": run.cpu.name,
            "usable_cores": run.cpu.usable_cores,
            "threads": run.threads,
            "read_bytes_s": round(run.ceilings.bandwidth),
            "compute_mac_s": round(run.ceilings.compute),
            "foreign_cpu_share": round(run.meter.foreign_share, 4),
            "steal_share": round(run.meter.steal_share, 4),
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        "quiet": not run.noise,
        "noise": list(run.noise),
        "contenders": [_contender(run, entrant) for entrant in run.entrants],
        "ratios": _ratios(run),
    }


def _contender(run: Run, entrant: Entrant) -> dict[str, Any]:
    users: dict[str, dict[str, Any]] = {}
    for measurement in run.measurements:
        task = measurement.task
        rate = measurement.median(entrant.name)
        users.setdefault(str(task.users), {}).update(
            {
                f"{task.kind}_tok_s": round(rate, 2),
                f"{task.kind}_share_of_ceiling": round(_share(run, measurement, entrant), 4),
                f"{task.kind}_runs_tok_s": [round(r, 2) for r in measurement.rates[entrant.name]],
            }
        )
    return {"name": entrant.name, "version": entrant.version, "file": run.file, "users": users}


def _ratios(run: Run) -> dict[str, Any]:
    """wazn over the other: {users: {kind: {"median", "pairs"}}}; empty without another."""
    ratios: dict[str, Any] = {}
    if len(run.entrants) > 1:
        first, other = (entrant.name for entrant in run.entrants)
        for measurement in run.measurements:
            pairs = measurement.ratios(first, other)
            entry = {"median": round(median(pairs), 3), "pairs": [round(r, 3) for r in pairs]}
            users = str(measurement.task.users)
            ratios.setdefault(users, {})[measurement.task.kind] = entry
    return ratios


def _share(run: Run, measurement: Measurement, entrant: Entrant) -> float:
    return run.ceilings.share(measurement.task, run.work, measurement.median(entrant.name))


def to_facts(run: Run) -> list[tuple[str, str]]:
    """What the table is about, as name and value."""
    return [
        ("file", run.file),
        ("machine", f"{run.cpu.name}, {run.threads} threads"),
        *((entrant.name, entrant.version) for entrant in run.entrants),
        ("read bandwidth", f"{run.ceilings.bandwidth / 1e9:.1f} GB/s, the ceiling of decode"),
        ("4-bit compute", f"{run.ceilings.compute / 1e9:.0f} GMAC/s, the ceiling of prefill"),
    ]


def to_table(run: Run) -> tuple[list[str], list[list[str]]]:
    """Header and rows: medians in tokens per second, share of the ceiling, every pair's ratio."""
    header = ["users", "task"]
    for entrant in run.entrants:
        header += [f"{entrant.name} tok/s", "of ceiling"]
    if len(run.entrants) > 1:
        header += ["ratio", "ratio of each pair"]
    return header, [_row(run, measurement) for measurement in run.measurements]


def _row(run: Run, measurement: Measurement) -> list[str]:
    cells = [str(measurement.task.users), measurement.task.kind]
    for entrant in run.entrants:
        cells.append(f"{measurement.median(entrant.name):.1f}")
        cells.append(f"{_share(run, measurement, entrant):.0%}")
    if len(run.entrants) > 1:
        pairs = measurement.ratios(*(entrant.name for entrant in run.entrants))
        cells += [f"{median(pairs):.2f}", " ".join(f"{ratio:.2f}" for ratio in pairs)]
    return cells
