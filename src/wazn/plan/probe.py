"""Two seconds of measuring this machine: what it reads and multiplies at best."""

from __future__ import annotations

from wazn.bench.ceilings import measure_ceilings
from wazn.machine import read_cpu, read_memory
from wazn.plan.speed import Machine


def probe_machine(threads: int | None = None) -> Machine:
    """This machine with ``threads`` threads, one per usable core by default.

    Raises UnsupportedMachine where the native core cannot run.
    """
    used = threads or read_cpu().useful_threads
    ceilings = measure_ceilings(used)
    return Machine(ceilings.bandwidth, ceilings.compute, read_memory().available, used)
