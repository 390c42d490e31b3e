"""One benchmark from end to end: ceilings, contenders, turns, ceilings again, and the verdict.

The ceilings are measured before and after the turns, by this process, while the contenders sleep.
Knows the order of events; how a turn, a ceiling or a verdict is made is known elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from wazn.bench import llama_cpp
from wazn.bench.ceilings import measure_ceilings
from wazn.bench.measure import Measurement, Plan, measure
from wazn.bench.process import ContenderProcess, contender_command, contender_process
from wazn.bench.quiet import QuietMeter, noise
from wazn.bench.records import Records, record_key
from wazn.bench.report import Entrant, Run
from wazn.bench.workload import Task
from wazn.errors import BadRequest
from wazn.machine import read_cpu
from wazn.weights.choice import Weights


@dataclass(frozen=True, slots=True)
class Session:
    """What to run: the model file, who else takes part, and where the best figures are kept."""

    path: Path
    names: tuple[str, ...]
    threads: int
    plan: Plan
    records: Path
    weights: Weights = "native"

    def check(self) -> None:
        """Raise BadRequest, with the remedy, for what could only fail later."""
        if llama_cpp.NAME in self.names:
            llama_cpp.require()
            if self.path.is_dir():
                raise BadRequest(f"llama.cpp reads GGUF files only, and {self.path} is a folder.")
            if self.weights != "native":
                raise BadRequest(
                    f"--weights {self.weights} is for wazn alone: llama.cpp runs {self.path.name} "
                    "as it is. Leave one of the two out."
                )

    def run(self, notify: Callable[[str], None]) -> Run:
        """Measure; ``notify`` hears what is going on, a line at a time."""
        meter = QuietMeter(self.threads)
        ceilings = measure_ceilings(self.threads)
        with ExitStack() as stack:
            players = [self._start(name, stack, notify) for name in self.names]
            entrants = [Entrant(player.name, player.version) for player in players]
            work = players[0].work
            measurements = measure(players, self.plan, meter, Progress(notify, self.plan.repeats))
        return Run(
            file=self._file,
            threads=self.threads,
            cpu=read_cpu(),
            entrants=entrants,
            measurements=measurements,
            ceilings=ceilings.best_of(measure_ceilings(self.threads)),
            work=work,
            meter=meter,
            noise=noise(meter) + self._shortfalls(entrants, measurements),
        )

    @property
    def _file(self) -> str:
        """The model as a result names it."""
        as_it_is = self.weights == "native"
        return self.path.name if as_it_is else f"{self.path.name} with weights={self.weights}"

    def _start(
        self, name: str, stack: ExitStack, notify: Callable[[str], None]
    ) -> ContenderProcess:
        notify(f"{name}: loading {self.path.name}")
        command = contender_command(name, self.path, self.threads, self.weights)
        return stack.enter_context(contender_process(name, command))

    def _shortfalls(self, entrants: list[Entrant], measurements: list[Measurement]) -> list[str]:
        """What llama.cpp missed of its best; its best is brought up to date."""
        shortfalls: list[str] = []
        for entrant in entrants:
            if entrant.name == llama_cpp.NAME:
                key = record_key(self.path, entrant.version, self.threads)
                records = Records(self.records, key)
                rates = {str(m.task): m.median(entrant.name) for m in measurements}
                shortfalls += records.shortfalls(rates)
                records.update(rates)
        return shortfalls


@dataclass(frozen=True, slots=True)
class Progress:
    """Turns the end of each pair into a line."""

    notify: Callable[[str], None]
    repeats: int

    def __call__(self, task: Task, pair: int, rates: dict[str, float]) -> None:
        users = "1 user" if task.users == 1 else f"{task.users} users"
        figures = ", ".join(f"{name} {rate:.1f}" for name, rate in rates.items())
        self.notify(f"{users}, {task.kind} {pair + 1} of {self.repeats}: {figures} tok/s")
