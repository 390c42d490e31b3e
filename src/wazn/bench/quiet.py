"""Whether anything else ran while a contender was measured.

During a turn, whatever the machine's CPUs did beyond the one process under measurement is foreign:
other programs, and a contender that should be idle but spins. Time that the hypervisor gave to
other guests (steal) comes on top. Both are a share of what the contender's threads could have had.
Linux only: /proc/stat and /proc/PID/stat, in ticks of 10 ms; the errors of single turns cancel
in the sum, so judge whole runs, not turns.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
MAX_DISTURBANCE = 0.02


@dataclass(frozen=True, slots=True)
class CpuSeconds:
    """Seconds of all CPUs since boot: doing anything, and taken away by the hypervisor."""

    busy: float
    stolen: float


def read_machine(proc: Path = PROC) -> CpuSeconds:
    """The first line of /proc/stat; time of guests is contained in user and nice."""
    fields = (proc / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, interrupts, soft_interrupts, steal = map(int, fields[1:9])
    ticks = os.sysconf("SC_CLK_TCK")
    busy = user + nice + system + interrupts + soft_interrupts
    return CpuSeconds(busy / ticks, steal / ticks)


def read_process(pid: int, proc: Path = PROC) -> float:
    """CPU seconds of all threads of a process, user and system."""
    text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    fields = text.rpartition(")")[2].split()  # the name may hold spaces and brackets
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class QuietMeter:
    """Sums up the disturbance of all measured turns of a run."""

    def __init__(self, threads: int, proc: Path = PROC) -> None:
        self._threads = threads
        self._proc = proc
        self._available_s = 0.0
        self._foreign_s = 0.0
        self._stolen_s = 0.0

    @contextmanager
    def turn(self, pid: int) -> Iterator[None]:
        """Attribute the CPU time of the enclosed block: process ``pid`` is the one measured."""
        start, machine, process = self._read(pid)
        yield
        end, machine_after, process_after = self._read(pid)
        own = process_after - process
        self._available_s += (end - start) * self._threads
        self._foreign_s += machine_after.busy - machine.busy - own
        self._stolen_s += machine_after.stolen - machine.stolen

    @property
    def foreign_share(self) -> float:
        """CPU time of everything else over what the threads could have had."""
        return max(0.0, self._foreign_s / self._available_s) if self._available_s else 0.0

    @property
    def steal_share(self) -> float:
        """Stolen time over what the threads could have had."""
        return max(0.0, self._stolen_s / self._available_s) if self._available_s else 0.0

    def _read(self, pid: int) -> tuple[float, CpuSeconds, float]:
        return time.perf_counter(), read_machine(self._proc), read_process(pid, self._proc)


def noise(meter: QuietMeter) -> list[str]:
    """Why the run does not count, as sentences; empty if the machine was quiet."""
    disturbance = meter.foreign_share + meter.steal_share
    if disturbance <= MAX_DISTURBANCE:
        return []
    return [
        f"other programs took {meter.foreign_share:.1%} and the hypervisor "
        f"{meter.steal_share:.1%} of the CPU time (limit {MAX_DISTURBANCE:.0%} in total)."
    ]
