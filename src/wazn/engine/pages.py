"""Which KV pages are free.

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
