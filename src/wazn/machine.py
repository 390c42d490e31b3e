"""Facts about the machine this process runs on, as the process may use it.

Knows Linux's own sources: /proc/cpuinfo, /proc/meminfo, sysfs and the control groups (v1 and v2),
so that a container's share counts and not its host. Every function takes the root of those
folders, which lets a test describe any machine. It refuses to guess: what Linux does not say is
None, and a measured figure is measured.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wazn.topology import ROOT, parse_cpu_list, read_topology

_KNOWN_FLAGS = (
    # x86-64, as the kernel spells them
    *("sse4_1", "sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx_vnni_int8"),
    *("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16"),
    *("avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
    # AArch64
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)


@dataclass(frozen=True, slots=True)
class CacheLevel:
    """One data cache: its level, its size, and how many logical CPUs share one instance."""

    level: int
    size_bytes: int
    shared_by: int


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor. ``usable_cpus`` are logical, after affinity; ``quota`` is a group's limit."""

    name: str
    logical_cpus: int
    usable_cpus: int
    usable_cores: int
    quota: float | None
    instruction_sets: tuple[str, ...]
    caches: tuple[CacheLevel, ...]

    @property
    def useful_threads(self) -> int:
        """Threads that can all run at once: one per usable core, no more than the quota."""
        if self.quota is None:
            return self.usable_cores
        return max(1, min(self.usable_cores, int(self.quota)))


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory in bytes; a control group's limit, where there is one, is already applied."""

    total: int
    available: int
    limit: int | None


def read_cpu(root: Path = ROOT) -> Cpu:
    """The processor as this process may use it."""
    cpuinfo = _text(root / "proc/cpuinfo") or ""
    usable = sorted(os.sched_getaffinity(0))
    flags = _cpuinfo_field(cpuinfo, "flags") or _cpuinfo_field(cpuinfo, "Features") or ""
    present = set(flags.split())
    return Cpu(
        name=_cpu_name(cpuinfo),
        logical_cpus=os.cpu_count() or 1,
        usable_cpus=len(usable),
        usable_cores=len(read_topology(root).cores),
        quota=_cpu_quota(root),
        instruction_sets=tuple(flag for flag in _KNOWN_FLAGS if flag in present),
        caches=_read_caches(root, usable[0]),
    )


def read_memory(root: Path = ROOT) -> Memory:
    """Total and available memory; page cache that can be dropped counts as available."""
    meminfo = _text(root / "proc/meminfo") or ""
    total = _meminfo_bytes(meminfo, "MemTotal")
    available = _meminfo_bytes(meminfo, "MemAvailable")
    limit = None
    for group_limit, group_used in _memory_groups(root):
        limit = group_limit if limit is None else min(limit, group_limit)
        available = min(available, max(0, group_limit - group_used))
    if limit is not None and limit < total:
        return Memory(total=limit, available=min(available, limit), limit=limit)
    return Memory(total=total, available=available, limit=None)


def available_memory() -> int:
    """Bytes this process could still take without pushing the machine or its group over."""
    return read_memory().available


def measure_bandwidth(threads: int, num_bytes: int) -> float:
    """Read bandwidth in bytes per second over a buffer of ``num_bytes``; needs the native core."""
    from wazn import native

    return float(native.measure_bandwidth(num_bytes, threads))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _number(path: Path) -> int | None:
    """The file's only integer; None for a missing file or ``max``."""
    text = (_text(path) or "").strip()
    return int(text) if re.fullmatch(r"-?\d+", text) else None


def _cpuinfo_field(cpuinfo: str, name: str) -> str | None:
    match = re.search(rf"^{re.escape(name)}\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return match.group(1).strip() if match else None


def _cpu_name(cpuinfo: str) -> str:
    name = _cpuinfo_field(cpuinfo, "model name")
    if name:
        return name
    implementer = _cpuinfo_field(cpuinfo, "CPU implementer")  # AArch64 has no model name
    part = _cpuinfo_field(cpuinfo, "CPU part")
    if implementer and part:
        return f"AArch64, implementer {implementer}, part {part}"
    return "unknown CPU"


def _read_caches(root: Path, cpu: int) -> tuple[CacheLevel, ...]:
    found = []
    for index in sorted((root / f"sys/devices/system/cpu/cpu{cpu}/cache").glob("index*")):
        level = _number(index / "level")
        size = re.fullmatch(r"(\d+)([KMG])", (_text(index / "size") or "").strip())
        if level is None or size is None or (_text(index / "type") or "").startswith("Instr"):
            continue
        unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[size.group(2)]
        shared = parse_cpu_list(_text(index / "shared_cpu_list") or "")
        found.append(CacheLevel(level, int(size.group(1)) * unit, max(1, len(shared))))
    return tuple(found)


def _meminfo_bytes(meminfo: str, name: str) -> int:
    match = re.search(rf"^{name}:\s*(\d+) kB", meminfo, re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def _group_folders(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control group and its ancestors, for one v1 controller or v2.

    A limit of any ancestor binds. Inside a container the group's path names the host's tree and
    does not exist; the mount itself is then the container's group, and it is always visited.
    """
    mounts = {"": root / "sys/fs/cgroup", controller: root / f"sys/fs/cgroup/{controller}"}
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        names = controllers.split(",")
        name = controller if controller in names else ""
        if controllers and name != controller:
            continue
        folder = mounts[name] / path.lstrip("/")
        while mounts[name] in folder.parents:
            yield folder
            folder = folder.parent
        yield mounts[name]


def _cpu_quota(root: Path) -> float | None:
    """The tightest CPU limit over the process's groups, in CPUs; None without a limit."""
    quotas = []
    for folder in _group_folders(root, "cpu"):
        match = re.fullmatch(r"(\d+) (\d+)", (_text(folder / "cpu.max") or "").strip())
        if match and int(match.group(2)):
            quotas.append(int(match.group(1)) / int(match.group(2)))
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is not None and quota > 0 and period:
            quotas.append(quota / period)
    return min(quotas, default=None)


def _memory_groups(root: Path) -> Iterator[tuple[int, int]]:
    """(limit, used) of every group that has a limit; droppable page cache is not used memory."""
    for folder in _group_folders(root, "memory"):
        for limit_name, used_name, droppable_name in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = _number(folder / limit_name), _number(folder / used_name)
            if limit is None or used is None:
                continue
            statistics = _text(folder / "memory.stat") or ""
            match = re.search(rf"^{droppable_name} (\d+)$", statistics, re.MULTILINE)
            yield limit, max(0, used - (int(match.group(1)) if match else 0))
