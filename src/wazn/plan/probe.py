"""Two seconds of measuring this machine: what it reads and multiplies at best."""

from __future__ import annotations

import os
from time import perf_counter

from wazn.bench.ceilings import measure_ceilings
from wazn.bench.quiet import read_machine, read_process
from wazn.machine import read_cpu, read_memory
from wazn.plan.speed import Machine


def probe_machine(threads: int | None = None) -> Machine:
    """This machine with ``threads`` threads, one per usable core by default.

    Raises UnsupportedMachine where the native core cannot run.
    """
    used = threads or read_cpu().useful_threads
    start, foreign = perf_counter(), _foreign_seconds()
    ceilings = measure_ceilings(used)
    share = (_foreign_seconds() - foreign) / ((perf_counter() - start) * used)
    available = read_memory().available
    return Machine(ceilings.bandwidth, ceilings.compute, available, used, round(max(0.0, share), 3))


def _foreign_seconds() -> float:
    """CPU seconds of everything but this process, and those that a hypervisor took away."""
    machine = read_machine()
    return machine.busy + machine.stolen - read_process(os.getpid())
