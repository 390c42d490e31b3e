"""How much memory the KV cache may use when the caller does not say.

Free memory is what the kernel could hand out without swapping, or what is left of the control
group's limit (containers) if that is less. Knows Linux; refuses to guess elsewhere.
"""

from __future__ import annotations

from pathlib import Path

from wazn.errors import DoesNotFit

MIB = 2**20
GIB = 2**30
RESERVE_BYTES = 2 * GIB  # for everything that is not the cache


def default_budget(root: Path = Path("/")) -> int:
    """Free memory minus 2 GiB, in bytes; DoesNotFit if nothing is left."""
    free = _machine_free(root)
    limited = _control_group_free(root)
    free = free if limited is None else min(free, limited)
    if free <= RESERVE_BYTES:
        raise DoesNotFit(
            f"{free / GIB:.1f} GiB of memory are free, and {RESERVE_BYTES // GIB} GiB are kept for "
            "the rest of the system. Free some memory, or give the cache a budget of its own with "
            "memory= (--memory)."
        )
    return free - RESERVE_BYTES


def _machine_free(root: Path) -> int:
    fields = dict(
        line.split(":", 1) for line in (root / "proc/meminfo").read_text().splitlines() if line
    )
    return int(fields["MemAvailable"].split()[0]) * 1024


def _control_group_free(root: Path) -> int | None:
    """Bytes below the limit of the own control group (v2), if any; file cache counts as free."""
    group = root / "sys/fs/cgroup"
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        statistics = (group / "memory.stat").read_text()
    except FileNotFoundError:  # no control group of our own
        return None
    if limit == "max":
        return None
    fields = dict(line.split() for line in statistics.splitlines())
    return int(limit) - used + int(fields["inactive_file"])
