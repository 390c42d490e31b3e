"""One completion on its way: its tokens, the KV pages it holds, and how far they are filled.

Knows nothing of other sequences. Positions ``0 … num_cached - 1`` are computed and lie in
``pages`` (and in the state in ``slot``); the rest of ``tokens`` is pending, one row each.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from wazn.engine.growing import GrowingArray
from wazn.engine.output import TextWriter
from wazn.engine.plan import Plan
from wazn.engine.request import Usage
from wazn.engine.sampler import Choice, sampling_state
from wazn.engine.thinking_budget import ThinkingBudget
from wazn.models.batch import PAGE


class Sequence:
    """Completion ``index`` of a request; ``writer`` turns its tokens into text.

    ``budget``: what ends its thinking.
    """

    def __init__(
        self, plan: Plan, index: int, writer: TextWriter, budget: ThinkingBudget | None = None
    ) -> None:
        self.plan = plan
        self.index = index
        self.tokens = GrowingArray(plan.prompt_ids)
        self.num_cached = 0
        self.slot: int | None = None  # of its state, while it is started; None: it has none
        self._pages = GrowingArray(np.empty(0, dtype=np.int32))
        self.sampling = sampling_state(plan, index)
        self.writer = writer
        self._budget = budget
        self._submitted = perf_counter()
        self._started: float | None = None
        self._first_token: float | None = None

    @property
    def num_pending(self) -> int:
        return len(self.tokens) - self.num_cached

    @property
    def num_generated(self) -> int:
        return len(self.tokens) - len(self.plan.prompt_ids)

    @property
    def num_pages(self) -> int:
        return len(self._pages)

    @property
    def pages(self) -> NDArray[np.int32]:
        """Page ids (num_pages,), by position // PAGE."""
        return self._pages.view()

    def add_page(self, page: int) -> None:
        self._pages.append(page)

    def drop_last_page(self) -> int:
        """Give up the page of the highest positions, which become pending again.

        A state cannot go back to a page's border: with one, all positions do.
        """
        page = self._pages.pop()
        kept = self.num_pages * PAGE
        if self.num_cached > kept:
            self.num_cached = kept if self.slot is None else 0
        return page

    def mark_started(self) -> None:
        if self._started is None:
            self._started = perf_counter()

    def append(self, drawn: Choice) -> Choice:
        """Add a token of the answer: the one drawn, or what its thinking budget forces instead."""
        if self._first_token is None:
            self._first_token = perf_counter()
        if self._budget is not None:
            token_id, is_forced = self._budget.take(drawn.token_id)
            drawn = Choice(token_id, None) if is_forced else drawn
        self.tokens.append(drawn.token_id)
        self.sampling.observe(drawn.token_id)
        return drawn

    def usage(self) -> Usage:
        """What the completion took up to now."""
        now = perf_counter()
        started = now if self._started is None else self._started
        first_token = now if self._first_token is None else self._first_token
        return Usage(
            prompt_tokens=len(self.plan.prompt_ids),
            completion_tokens=self.num_generated,
            reasoning_tokens=self.writer.reasoning_tokens,
            queue_s=started - self._submitted,
            prefill_s=first_token - started,
            decode_s=now - first_token,
        )
