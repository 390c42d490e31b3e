"""Facts about machines that are described in folders of our own."""

import os
from pathlib import Path

import pytest

from wazn import machine

GIB = 1 << 30


class Described:
    """A root folder with the files of Linux that a test names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/meminfo", f"MemTotal: {16 * GIB >> 10} kB\nMemAvailable: 8388608 kB\n")
        self.write(
            "proc/cpuinfo", "processor : 0\nmodel name : CPU 9000 @ 3 GHz\nflags : fpu avx2 fma\n"
        )

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Described:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    return Described(tmp_path)


def test_this_machine_has_a_name_and_memory() -> None:
    cpu, memory = machine.read_cpu(), machine.read_memory()
    assert cpu.name
    assert 1 <= cpu.useful_threads <= cpu.usable_cores <= cpu.usable_cpus <= cpu.logical_cpus
    assert 0 < memory.available <= memory.total


def test_the_instruction_sets_that_matter_are_picked_out(described: Described) -> None:
    cpu = machine.read_cpu(described.root)
    assert cpu.name == "CPU 9000 @ 3 GHz"
    assert cpu.instruction_sets == ("fma", "avx2")


def test_an_arm_machine_is_named_by_its_part(described: Described) -> None:
    described.write(
        "proc/cpuinfo", "Features : fp asimd asimddp\nCPU implementer : 0x41\nCPU part : 0xd0c\n"
    )
    cpu = machine.read_cpu(described.root)
    assert cpu.name == "AArch64, implementer 0x41, part 0xd0c"
    assert cpu.instruction_sets == ("asimd", "asimddp")


def test_a_machine_that_says_nothing_is_unknown(tmp_path: Path) -> None:
    cpu = machine.read_cpu(tmp_path)
    assert (cpu.name, cpu.instruction_sets, cpu.caches) == ("unknown CPU", (), ())
    assert machine.read_memory(tmp_path) == machine.Memory(0, 0, None)


def test_threads_of_one_core_count_once(described: Described) -> None:
    for cpu in range(4):
        first = cpu - cpu % 2
        described.write(
            f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list",
            f"{first}-{first + 1}\n",
        )
    cpu_facts = machine.read_cpu(described.root)
    assert (cpu_facts.logical_cpus, cpu_facts.usable_cpus, cpu_facts.usable_cores) == (8, 4, 2)


def test_without_topology_each_cpu_is_a_core(described: Described) -> None:
    assert machine.read_cpu(described.root).usable_cores == 4


def test_data_caches_are_listed_with_who_shares_them(described: Described) -> None:
    cache = "sys/devices/system/cpu/cpu0/cache"
    for index, (level, kind, size, shared) in enumerate(
        [(1, "Data", "32K", "0"), (1, "Instruction", "32K", "0"), (3, "Unified", "16M", "0-3,8")]
    ):
        described.write(f"{cache}/index{index}/level", f"{level}\n")
        described.write(f"{cache}/index{index}/type", f"{kind}\n")
        described.write(f"{cache}/index{index}/size", f"{size}\n")
        described.write(f"{cache}/index{index}/shared_cpu_list", f"{shared}\n")
    assert machine.read_cpu(described.root).caches == (
        machine.CacheLevel(1, 32 << 10, 1),
        machine.CacheLevel(3, 16 << 20, 5),
    )


@pytest.mark.parametrize(
    ("limit", "quota", "threads"),
    [("150000 100000", 1.5, 1), ("50000 100000", 0.5, 1), ("300000 100000", 3.0, 3)],
)
def test_a_control_group_limits_the_threads(
    described: Described, limit: str, quota: float, threads: int
) -> None:
    described.write("proc/self/cgroup", "0::/a/b\n")
    described.write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n")
    described.write("sys/fs/cgroup/a/cpu.max", f"{limit}\n")
    cpu = machine.read_cpu(described.root)
    assert (cpu.quota, cpu.useful_threads) == (quota, threads)


def test_an_old_control_group_limits_the_threads_too(described: Described) -> None:
    described.write("proc/self/cgroup", "4:memory:/m\n3:cpu,cpuacct:/c\n0::/x\n")
    described.write("sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "200000\n")
    described.write("sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n")
    assert machine.read_cpu(described.root).quota == 2.0


def test_no_control_group_is_no_limit(described: Described) -> None:
    described.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    described.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    cpu = machine.read_cpu(described.root)
    assert (cpu.quota, cpu.useful_threads) == (None, 4)
    assert machine.read_memory(described.root) == machine.Memory(16 * GIB, 8 * GIB, None)


def test_a_control_group_limits_the_memory_and_its_file_cache_is_free(described: Described) -> None:
    described.write("proc/self/cgroup", "0::/a/b\n")
    described.write("sys/fs/cgroup/a/memory.max", f"{4 * GIB}\n")
    described.write("sys/fs/cgroup/a/memory.current", f"{3 * GIB}\n")
    described.write("sys/fs/cgroup/a/memory.stat", f"anon 1\ninactive_file {GIB}\n")
    described.write("sys/fs/cgroup/a/b/memory.max", "max\n")
    assert machine.read_memory(described.root) == machine.Memory(4 * GIB, 2 * GIB, 4 * GIB)


def test_inside_a_container_the_mounted_group_counts(described: Described) -> None:
    described.write("proc/self/cgroup", "0::/host/only/path\n")
    described.write("sys/fs/cgroup/memory.max", f"{2 * GIB}\n")
    described.write("sys/fs/cgroup/memory.current", f"{GIB}\n")
    assert machine.read_memory(described.root) == machine.Memory(2 * GIB, GIB, 2 * GIB)


def test_an_old_memory_limit_beyond_the_machine_is_none(described: Described) -> None:
    described.write("proc/self/cgroup", "4:memory:/m\n")
    described.write("sys/fs/cgroup/memory/m/memory.limit_in_bytes", f"{2**63 - 4096}\n")
    described.write("sys/fs/cgroup/memory/m/memory.usage_in_bytes", f"{GIB}\n")
    assert machine.read_memory(described.root) == machine.Memory(16 * GIB, 8 * GIB, None)


def test_a_group_that_is_over_its_limit_has_nothing_left(described: Described) -> None:
    described.write("proc/self/cgroup", "4:memory:/m\n")
    described.write("sys/fs/cgroup/memory/m/memory.limit_in_bytes", f"{GIB}\n")
    described.write("sys/fs/cgroup/memory/m/memory.usage_in_bytes", f"{GIB + 4096}\n")
    assert machine.read_memory(described.root).available == 0
