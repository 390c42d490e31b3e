"""``wazn doctor``: what this machine is, what wazn finds on it, and what would run well here.

Gathers first (``examine``), prints afterwards. The speeds of models that are not here are
estimates and are called so: decoding reads every weight once for each token, so it cannot be
faster than the measured bandwidth divided by the bytes of the weights.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from wazn.cli.console import Waiting, print_facts, print_json, print_table
from wazn.cli.options import JSONFlag
from wazn.errors import UnsupportedMachine
from wazn.machine import CacheLevel, Cpu, Memory, measure_bandwidth, read_cpu, read_memory
from wazn.topology import Topology, format_cpus, place, read_topology
from wazn.weights.disk import format_bytes

PROBE_BYTES = 1 << 30  # far beyond any cache; four passes take under a second
BYTES_PER_WEIGHT = 4.5 / 8  # 4 bits and a 16-bit scale for every 32 weights
WORKING_BYTES = 1 << 30  # KV cache of a conversation, the process itself

FLUENT_TOKENS_S = 10.0  # well above the four or five tokens per second at which people read
READABLE_TOKENS_S = 4.0

# Parameters of dense models that people ask for, by the size their labs call them.
MODEL_SIZES = (
    ("SmolLM2 135M", 0.135e9),
    ("Qwen3 0.6B", 0.6e9),
    ("Qwen2.5 1.5B", 1.54e9),
    ("Llama 3.2 3B", 3.2e9),
    ("Qwen3 8B", 8.2e9),
    ("Qwen3 14B", 14.8e9),
    ("Qwen3 32B", 32.8e9),
    ("Llama 3.3 70B", 70.6e9),
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """One model size at 4 bits: an upper bound of its speed, and whether it fits in memory."""

    model: str
    weight_bytes: int
    fits: bool
    decode_tokens_s: float | None

    @property
    def verdict(self) -> str:
        """What that means for a person who waits for the words."""
        if not self.fits:
            return "does not fit"
        if self.decode_tokens_s is None:
            return "fits"
        if self.decode_tokens_s >= FLUENT_TOKENS_S:
            return "fluent"
        return "readable" if self.decode_tokens_s >= READABLE_TOKENS_S else "slow"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of wazn: what it holds, and what is left on its disk."""

    path: str
    used_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything the command reports. ``problems`` keep wazn from running here at all."""

    cpu: Cpu
    topology: Topology
    memory: Memory
    instruction_set: str | None
    available_instruction_sets: tuple[str, ...]
    bandwidth_bytes_s: float | None
    pip: str | None
    store: Folder
    cache: Folder
    estimates: tuple[Estimate, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def pinned_cpus(self) -> tuple[int, ...]:
        """Where ``--pin`` would put the threads, one each."""
        return place(self.topology, self.cpu.useful_threads)


def doctor(json: JSONFlag = False) -> None:
    """Say what this machine can run, and how fast.

    Measures the memory's read bandwidth, which bounds decoding. The exit status is 0 only if wazn
    can run here.

    \b
    Example:
      wazn doctor
      wazn doctor --json
    """
    with Waiting("measuring"):
        found = examine()
    if json:
        threads = {"threads": found.cpu.useful_threads, "pinned_cpus": found.pinned_cpus}
        print_json({**asdict(found), **threads})
    else:
        _print(found)
    if found.problems:
        raise typer.Exit(1)


def examine() -> Examination:
    """Look at the machine and at wazn's own folders; takes about a second."""
    from wazn.settings import load_settings

    settings = load_settings()
    cpu, topology, memory = read_cpu(), read_topology(), read_memory()
    problems: list[str] = []
    chosen, available, bandwidth = _examine_native(cpu, memory, problems)
    pip = _find_pip()
    return Examination(
        cpu=cpu,
        topology=topology,
        memory=memory,
        instruction_set=chosen,
        available_instruction_sets=available,
        bandwidth_bytes_s=bandwidth,
        pip=pip,
        store=_examine_folder(settings.home),
        cache=_examine_folder(settings.cache),
        estimates=estimate(bandwidth, memory.available),
        problems=tuple(problems),
        remarks=tuple(_remarks(pip, topology, cpu.useful_threads)),
    )


def _remarks(pip: str | None, topology: Topology, threads: int) -> Iterator[str]:
    """What does not keep wazn from running, and is good to know."""
    if pip is None:
        yield (
            "pip is missing, so models that come as Python packages (smollm2 does) cannot be "
            "fetched: 'python -m ensurepip' brings it back."
        )
    nodes = topology.nodes(place(topology, threads))
    if len(nodes) > 1:
        yield (
            f"{threads} threads span {len(nodes)} NUMA nodes. With --pin the weights are copied "
            "into memory of the process, so that each node\nholds what its threads read; without "
            "it, threads read from any node. The alternative is a worker per node:\n'wazn serve "
            "MODEL OTHER --pin --threads N' with N as the cores of a node, or a server under "
            "'numactl'."
        )


def estimate(bandwidth_bytes_s: float | None, available_bytes: int) -> tuple[Estimate, ...]:
    """What each of ``MODEL_SIZES`` would do with this bandwidth and this much free memory."""
    estimates = []
    for model, parameters in MODEL_SIZES:
        weight_bytes = int(parameters * BYTES_PER_WEIGHT)
        speed = None if bandwidth_bytes_s is None else round(bandwidth_bytes_s / weight_bytes, 1)
        fits = weight_bytes + WORKING_BYTES <= available_bytes
        estimates.append(Estimate(model, weight_bytes, fits, speed))
    return tuple(estimates)


def _examine_native(
    cpu: Cpu, memory: Memory, problems: list[str]
) -> tuple[str | None, tuple[str, ...], float | None]:
    """(chosen instruction set, available ones, bytes per second); what fails goes to problems."""
    try:
        from wazn import native

        available = tuple(native.available_isas())
        chosen = native.chosen_isa()
    except UnsupportedMachine as error:
        problems.append(str(error))
        return None, (), None
    probe = min(PROBE_BYTES, memory.available // 4)
    return chosen, available, measure_bandwidth(cpu.useful_threads, probe)


def _find_pip() -> str | None:
    """The version of the pip that would fetch packages."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pip")
    except PackageNotFoundError:
        return None


def _examine_folder(path: Path) -> Folder:
    used = 0
    for parent, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # another process may be tidying up
                status = os.lstat(os.path.join(parent, name))
                used += status.st_size if stat.S_ISREG(status.st_mode) else 0
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    return Folder(str(path), used, shutil.disk_usage(existing).free)


def _print(found: Examination) -> None:
    print_facts(_facts(found))
    print("\nWhat would run here, with weights of 4 bits (estimates):\n")
    print_table(
        ("model", "weights", "tokens/s, at most", "verdict"),
        [
            (entry.model, format_bytes(entry.weight_bytes), _speed(entry), entry.verdict)
            for entry in found.estimates
        ],
    )
    print(
        "\nEstimate: measured bandwidth / bytes of the weights; 'wazn bench MODEL' measures. "
        f"Fluent: from {FLUENT_TOKENS_S:g} tokens/s,\nreadable: from {READABLE_TOKENS_S:g}. "
        f"Fits: weights and {format_bytes(WORKING_BYTES)} beside them in the available memory."
    )
    for sentence in (*found.problems, *found.remarks):
        print(f"\n! {sentence}")


def _facts(found: Examination) -> list[tuple[str, str]]:
    cpu, memory = found.cpu, found.memory
    caches = ", ".join(
        f"L{cache.level} {_cache_size(cache)}"
        + (f" shared by {cache.shared_by}" if cache.shared_by > 1 else "")
        for cache in cpu.caches
    )
    quota = "" if cpu.quota is None else f", limited to {cpu.quota:g} by the control group"
    limit = "" if memory.limit is None else ", limited by the control group"
    bandwidth = found.bandwidth_bytes_s
    return [
        ("CPU", cpu.name),
        (
            "cores",
            f"{cpu.usable_cores} usable, {cpu.usable_cpus} of {cpu.logical_cpus} "
            f"logical CPUs{quota}",
        ),
        ("nodes", _nodes(found.topology)),
        ("threads", f"{cpu.useful_threads}"),
        ("with --pin", f"on CPUs {format_cpus(found.pinned_cpus)}"),
        ("caches", caches or "not stated"),
        ("instruction sets", " ".join(cpu.instruction_sets) or "not stated"),
        ("kernels", _kernels(found)),
        (
            "read bandwidth",
            "not measured" if bandwidth is None else f"{bandwidth / 1e9:.1f} GB/s, measured",
        ),
        (
            "memory",
            f"{format_bytes(memory.total)}, {format_bytes(memory.available)} available{limit}",
        ),
        ("pip", found.pip or "missing"),
        ("models", _folder_line(found.store)),
        ("cache", _folder_line(found.cache)),
    ]


def _nodes(topology: Topology) -> str:
    """``node 0: 4 cores, CPUs 0-7`` and so on."""
    words = []
    for node in topology.nodes(topology.cpus):
        cores = [core for core in topology.cores if core.node == node]
        cpus = format_cpus(sorted(cpu for core in cores for cpu in core.cpus))
        words.append(f"node {node}: {len(cores)} core{'s' if len(cores) > 1 else ''}, CPUs {cpus}")
    return "; ".join(words)


def _cache_size(cache: CacheLevel) -> str:
    """As data sheets write it, in powers of 1024."""
    kib = cache.size_bytes >> 10
    return f"{kib >> 10} MiB" if kib >= 1024 else f"{kib} KiB"


def _kernels(found: Examination) -> str:
    if found.instruction_set is None:
        return "none: wazn cannot run here, see below"
    return f"{found.instruction_set} (available: {', '.join(found.available_instruction_sets)})"


def _speed(entry: Estimate) -> str:
    return (
        "-" if entry.decode_tokens_s is None or not entry.fits else f"{entry.decode_tokens_s:.1f}"
    )


def _folder_line(folder: Folder) -> str:
    return (
        f"{folder.path}, {format_bytes(folder.used_bytes)}, {format_bytes(folder.free_bytes)} free"
    )
