"""The run: every task, pair by pair, the contenders taking turns in changing order.

A B, B A, A B …: within a pair the turns follow each other at once, so that both see the same
machine, and the one that goes first changes, so that neither profits from its place. Knows nothing
of what the contenders are, nor of how results are shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from wazn.bench.quiet import QuietMeter
from wazn.bench.workload import KINDS, Kind, Prompts, Task

# Threads of the contender before may spin for some milliseconds after their last work: llama.cpp
# (OpenMP) took 10 to 20 ms of CPU time in the first 50 ms and none in the next second, wazn none.
SETTLE_S = 0.05
WARM_UP_TOKENS = 64


class Player(Protocol):
    """A contender as the run sees it."""

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    def run(self, kind: Kind, prompts: Prompts, /) -> float: ...


@dataclass(frozen=True, slots=True)
class Measurement:
    """One task: tokens per second of each contender (by name) in each pair, in order."""

    task: Task
    rates: dict[str, list[float]]

    def median(self, name: str) -> float:
        """The median rate of a contender, in tokens per second."""
        return median(self.rates[name])

    def ratios(self, name: str, other: str) -> list[float]:
        """How many times faster ``name`` was than ``other``, in each pair."""
        return [a / b for a, b in zip(self.rates[name], self.rates[other], strict=True)]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure."""

    users: Sequence[int]
    repeats: int
    context: int | None = None

    @property
    def tasks(self) -> list[Task]:
        return [Task(kind, users, self.context) for users in self.users for kind in KINDS]


def measure(
    players: Sequence[Player],
    plan: Plan,
    meter: QuietMeter,
    report: Callable[[Task, int, dict[str, float]], None],
) -> list[Measurement]:
    """Measure every task; ``report`` hears the rates of each pair when it is done."""
    vocab_size = min(player.vocab_size for player in players)
    measurements = []
    for task in plan.tasks:
        for player in players:  # touches the memory that this many users need
            player.run(task.kind, task.prompts(0, vocab_size, WARM_UP_TOKENS))
        pairs: list[dict[str, float]] = []
        for pair in range(plan.repeats):
            prompts = task.prompts(pair, vocab_size)
            order = players if pair % 2 == 0 else players[::-1]
            seconds = {player.name: _turn(player, task, prompts, meter) for player in order}
            pairs.append({name: task.num_tokens / value for name, value in seconds.items()})
            report(task, pair, pairs[-1])
        rates = {player.name: [pair[player.name] for pair in pairs] for player in players}
        measurements.append(Measurement(task, rates))
    return measurements


def _turn(player: Player, task: Task, prompts: Prompts, meter: QuietMeter) -> float:
    time.sleep(SETTLE_S)
    with meter.turn(player.pid):
        return player.run(task.kind, prompts)
