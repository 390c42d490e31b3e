"""Which KV pages and which state slots are free.

A page holds ``PAGE`` positions of one sequence in all layers. Pages that were used before are
handed out first: memory of the cache is touched on demand, and the footprint stays at its peak
use instead of creeping over the whole budget.
"""

from __future__ import annotations

from wazn.models.batch import PAGE


def pages_for(num_positions: int) -> int:
    """How many pages hold so many positions."""
    return -(-num_positions // PAGE)


class PagePool:
    """Hands out page ids 0 … ``num_pages`` - 1, each to one holder at a time."""

    def __init__(self, num_pages: int) -> None:
        self.num_pages = num_pages
        self._returned: list[int] = []
        self._num_touched = 0  # ids below have been handed out at least once

    @property
    def num_free(self) -> int:
        return len(self._returned) + self.num_pages - self._num_touched

    def take(self) -> int:
        """One page id; at least one must be free."""
        if self._returned:
            return self._returned.pop()
        assert self._num_touched < self.num_pages, "took a page from an empty pool"
        self._num_touched += 1
        return self._num_touched - 1

    def give_back(self, page: int) -> None:
        self._returned.append(page)


class SlotPool:
    """Hands out slots of states 0 … ``num_slots`` - 1; None to all if the model has no state."""

    def __init__(self, num_slots: int) -> None:
        self._has_states = num_slots > 0
        self._free = list(reversed(range(num_slots)))
        self.spare = num_slots if num_slots else None  # one more, which nobody is given

    @property
    def has_free(self) -> bool:
        return bool(self._free) or not self._has_states

    def take(self) -> int | None:
        """One slot, if the model has states; one must be free then."""
        return self._free.pop() if self._has_states else None

    def give_back(self, slot: int | None) -> None:
        if slot is not None:
            self._free.append(slot)
