"""Where this process's CPUs are: physical cores and NUMA nodes, and which to give to threads.

Knows sysfs, below a root that a test can put anywhere, and the process's affinity, which container
limits are part of. It refuses to trust what it reads: whatever sysfs lacks or garbles, every usable
CPU is in exactly one core and one node. It pins nothing itself; ``native.Pool`` does.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wazn.errors import BadRequest

ROOT = Path("/")
MOST_CPUS = 8192  # that Linux is built for on any machine (NR_CPUS)


@dataclass(frozen=True, slots=True)
class Core:
    """A physical core: its NUMA node, and those of its logical CPUs that may be used, ascending."""

    node: int
    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """The cores this process may use, by node and then by first CPU."""

    cores: tuple[Core, ...]

    @property
    def cpus(self) -> tuple[int, ...]:
        """Every usable logical CPU, ascending."""
        return tuple(sorted(cpu for core in self.cores for cpu in core.cpus))

    def nodes(self, cpus: Iterable[int]) -> tuple[int, ...]:
        """The nodes that these CPUs belong to, ascending."""
        wanted = set(cpus)
        return tuple(sorted({core.node for core in self.cores if wanted & set(core.cpus)}))


def read_topology(root: Path = ROOT) -> Topology:
    """The CPUs of this process's affinity as cores and nodes.

    A CPU that no node claims is in node 0, as on a machine without NUMA; one without a list of
    siblings is a core of its own.
    """
    usable = sorted(os.sched_getaffinity(0))
    node_of = dict(_claims(root))
    left = set(usable)
    cores = []
    for cpu in usable:
        if cpu not in left:
            continue
        node = node_of.get(cpu, 0)
        path = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        siblings = (parse_cpu_list(_text(path)) | {cpu}) & left
        members = tuple(sorted(s for s in siblings if node_of.get(s, 0) == node))
        left -= set(members)
        cores.append(Core(node, members))
    return Topology(tuple(sorted(cores, key=lambda core: (core.node, core.cpus))))


def place(topology: Topology, num_threads: int) -> tuple[int, ...]:
    """A CPU for each thread: all physical cores before their siblings, node after node.

    The node with the most cores comes first, so that few threads stay together. BadRequest if
    there are more threads than CPUs.
    """
    return place_workers(topology, 1, num_threads)[0]


def place_workers(
    topology: Topology, num_workers: int, num_threads: int
) -> tuple[tuple[int, ...], ...]:
    """CPUs for several processes of ``num_threads`` threads, none of them given twice.

    Each is placed like the first on what the others left. BadRequest if the CPUs do not suffice.
    """
    most = len(topology.cpus)
    if num_workers * num_threads > most:
        times = "" if num_workers == 1 else f"{num_workers} x "
        fewer = f"use at most {most // num_workers} (--threads), or " if most >= num_workers else ""
        raise BadRequest(
            f"{times}{num_threads} threads cannot each be pinned to one of the {most} CPUs that "
            f"this process may use ({format_cpus(topology.cpus)}); {fewer}do without pinning."
        )
    taken: set[int] = set()
    workers = []
    for _ in range(num_workers):
        workers.append(_best(topology, taken)[:num_threads])
        taken.update(workers[-1])
    return tuple(workers)


def check_cpus(topology: Topology, cpus: Sequence[int]) -> tuple[int, ...]:
    """``cpus`` as they are; BadRequest for none, or one that this process may not use."""
    for cpu in cpus:
        if cpu not in topology.cpus:
            raise BadRequest(
                f"pin names CPU {cpu!r:.40}, which this process may not use; it may use "
                f"{format_cpus(topology.cpus)}."
            )
    if not cpus:
        raise BadRequest("pin is an empty list; give True, or a CPU for each thread.")
    return tuple(int(cpu) for cpu in cpus)


def format_cpus(cpus: Sequence[int]) -> str:
    """``(0, 1, 2, 8)`` → ``0-2, 8``, in the order given."""
    runs: list[list[int]] = []
    for cpu in cpus:
        if runs and cpu == runs[-1][-1] + 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def parse_cpu_list(text: str) -> set[int]:
    """``0-3,8`` → {0, 1, 2, 3, 8}; empty if the text is anything but such a list."""
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*\s*", text, re.ASCII) or len(text) > 1 << 13:
        return set()
    cpus: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if max(len(first), len(last)) <= 6:
            cpus.update(range(int(first), min(int(last or first), MOST_CPUS - 1) + 1))
    return cpus


def _best(topology: Topology, taken: set[int]) -> tuple[int, ...]:
    """The CPUs that are not taken, best first."""
    free = Counter(core.node for core in topology.cores if not taken.intersection(core.cpus))
    ranked = [
        (rank, -free[core.node], core.node, cpu)
        for core in topology.cores
        for rank, cpu in enumerate(core.cpus)
        if cpu not in taken
    ]
    return tuple(cpu for *_, cpu in sorted(ranked))


def _claims(root: Path) -> Iterator[tuple[int, int]]:
    """(cpu, node) of every node, such that the lowest node that claims a CPU comes last."""
    nodes = []
    for folder in (root / "sys/devices/system/node").glob("node*"):
        if number := re.fullmatch(r"node(\d{1,6})", folder.name, re.ASCII):
            nodes.append((int(number[1]), folder))
    for node, folder in sorted(nodes, reverse=True):
        for cpu in parse_cpu_list(_text(folder / "cpulist")):
            yield cpu, node


def _text(path: Path) -> str:
    """The file's text; empty if it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
