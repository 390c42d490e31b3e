"""The default budget of the cache, from what the kernel says."""

from pathlib import Path

import pytest

from wazn.engine.memory import GIB, default_budget
from wazn.errors import DoesNotFit


def machine(root: Path, free_gib: float, limit: str | None = None, used_gib: float = 0) -> Path:
    """A file tree as the kernel shows it; a control group with 1 GiB of idle file cache."""
    (root / "proc").mkdir()
    free_kib = int(free_gib * GIB) // 1024
    (root / "proc/meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {free_kib} kB\n")
    if limit is not None:
        group = root / "sys/fs/cgroup"
        group.mkdir(parents=True)
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text(f"{int(used_gib * GIB)}\n")
        (group / "memory.stat").write_text(f"anon 5\ninactive_file {GIB}\n")
    return root


def test_two_gib_of_free_memory_are_kept(tmp_path: Path) -> None:
    assert default_budget(machine(tmp_path, 10)) == 8 * GIB


def test_the_limit_of_a_container_counts_if_it_is_tighter(tmp_path: Path) -> None:
    assert default_budget(machine(tmp_path, 50, str(8 * GIB), used_gib=3)) == 4 * GIB


def test_a_container_without_limit_has_the_machines_memory(tmp_path: Path) -> None:
    assert default_budget(machine(tmp_path, 10, "max", used_gib=3)) == 8 * GIB


def test_too_little_memory_is_refused_with_the_figures(tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit, match=r"1\.5 GiB of memory are free, and 2 GiB are kept"):
        default_budget(machine(tmp_path, 1.5))


def test_this_machine_can_be_read() -> None:
    try:
        assert default_budget() > 0
    except DoesNotFit as refusal:
        assert "GiB of memory are free" in str(refusal)
