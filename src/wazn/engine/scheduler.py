"""Which rows of which sequences run in the next step, and who holds which KV pages.

Order of arrival is the only priority. Every started sequence first secures the pages of its
tokens, the oldest first; when none is free it takes the last page of the youngest holder, whose
positions there are computed again later, to the same bits, because a row's arithmetic does not
depend on the batch it runs in. The oldest can therefore always advance, and nothing accepted is
lost. Then rows: one per decoding sequence, and what is left of the step for slices of prompts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wazn.engine.pages import PagePool, SlotPool, pages_for
from wazn.engine.sequence import Sequence

PROMPT_ROWS_BESIDE_DECODING = 128
"""Bounds how long those who decode wait for a step; wide enough that prompts lose little speed."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The next ``num_rows`` pending tokens of a sequence."""

    sequence: Sequence
    num_rows: int

    @property
    def is_complete(self) -> bool:
        """Whether nothing is pending after it: then the next token can be chosen."""
        return self.num_rows == self.sequence.num_pending


class Scheduler:
    """Sequences in order of arrival over one pool of pages and ``max_rows`` rows a step."""

    def __init__(self, pool: PagePool, max_rows: int, slots: SlotPool | None = None) -> None:
        self._pool = pool
        self._slots = slots or SlotPool(0)
        self._max_rows = max_rows
        self._waiting: deque[Sequence] = deque()
        self._active: list[Sequence] = []  # all of them older than any that waits

    @property
    def sequences(self) -> list[Sequence]:
        return [*self._active, *self._waiting]

    @property
    def is_empty(self) -> bool:
        return not self._active and not self._waiting

    def add(self, sequence: Sequence) -> None:
        self._waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence and free its pages."""
        while sequence.num_pages:
            self._pool.give_back(sequence.drop_last_page())
        self._slots.give_back(sequence.slot)
        sequence.slot = None
        (self._active if sequence in self._active else self._waiting).remove(sequence)

    def schedule(self) -> list[Slice]:
        """The slices of the next step, pages secured; empty only if there is no sequence."""
        ready = self._secure_pages()
        everyone_ready = len(ready) == len(self._active)
        slices = [Slice(sequence, 1) for sequence in ready if sequence.num_pending == 1]
        rows_left = self._max_rows - len(slices)
        if slices:
            rows_left = min(rows_left, PROMPT_ROWS_BESIDE_DECODING)
        for sequence in ready:
            if rows_left and sequence.num_pending > 1:
                slices.append(Slice(sequence, min(sequence.num_pending, rows_left)))
                rows_left -= slices[-1].num_rows
        # A row is left only if every started sequence has one, so there are never more of them
        # than a step has rows.
        while everyone_ready and rows_left and self._can_start():
            sequence = self._waiting.popleft()
            self._active.append(sequence)
            sequence.slot = self._slots.take()
            self._secure(len(self._active) - 1)
            sequence.mark_started()
            slices.append(Slice(sequence, min(sequence.num_pending, rows_left)))
            rows_left -= slices[-1].num_rows
        return slices

    def borrow(self, count: int) -> list[int]:
        """Pages for work outside any sequence, before the next step; at most the whole pool."""
        self._free_pages(count, self._active)
        return [self._pool.take() for _ in range(count)]

    @property
    def spare_slot(self) -> NDArray[np.int32] | None:
        """The slot (1,) of a state outside any sequence; None if the model has no state."""
        spare = self._slots.spare
        return None if spare is None else np.array([spare], dtype=np.int32)

    def return_pages(self, pages: list[int]) -> None:
        for page in pages:
            self._pool.give_back(page)

    def _secure_pages(self) -> list[Sequence]:
        """The started sequences that hold all pages of their tokens, oldest first."""
        ready = []
        is_blocked = False  # once an older one waits for pages, free ones are kept for it
        for place, sequence in enumerate(self._active):
            if sequence.num_pages >= pages_for(len(sequence.tokens)):
                ready.append(sequence)
            elif not is_blocked and self._secure(place):
                ready.append(sequence)
            else:
                is_blocked = True
        return ready

    def _secure(self, place: int) -> bool:
        """Give the active sequence at ``place`` all it misses, or nothing."""
        sequence = self._active[place]
        missing = pages_for(len(sequence.tokens)) - sequence.num_pages
        if not self._free_pages(missing, self._active[place + 1 :]):
            return False
        for _ in range(missing):
            sequence.add_page(self._pool.take())
        return True

    def _free_pages(self, count: int, holders: list[Sequence]) -> bool:
        """Have ``count`` pages free, taken from the youngest ``holders`` if need be."""
        if self._pool.num_free + sum(holder.num_pages for holder in holders) < count:
            return False
        for holder in reversed(holders):
            while holder.num_pages and self._pool.num_free < count:
                self._pool.give_back(holder.drop_last_page())
        return True

    def _can_start(self) -> bool:
        """Whether the next waiting prompt fits, with a spare page for each running sequence.

        The spare pages keep a newcomer from being robbed at once by those that grow.
        """
        if not self._waiting or not self._slots.has_free:
            return False
        needed = pages_for(len(self._waiting[0].tokens))
        return not self._active or self._pool.num_free >= needed + len(self._active)
