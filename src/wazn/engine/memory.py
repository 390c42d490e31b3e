"""How much memory the KV cache may use when the caller does not say."""

from __future__ import annotations

from wazn.errors import DoesNotFit
from wazn.machine import available_memory

MIB = 2**20
GIB = 2**30
RESERVE_BYTES = 2 * GIB  # for everything that is not the cache


def default_budget(weight_bytes: int) -> int:
    """Free memory minus 2 GiB, in bytes; DoesNotFit if nothing is left.

    The kernel counts mapped weights as free, though every step reads them: they are taken off.
    """
    free = available_memory() - weight_bytes
    if free <= RESERVE_BYTES:
        raise DoesNotFit(
            f"{max(free, 0) / GIB:.1f} GiB of memory are free beside the weights, and "
            f"{RESERVE_BYTES // GIB} GiB are kept for the rest of the system. Free some memory, or "
            "give the cache a budget of its own with memory= (--memory)."
        )
    return free - RESERVE_BYTES
