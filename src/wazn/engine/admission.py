"""Whether a request can be served at all, said with the figures before any work is done.

Knows the vocabulary, the context and the size of the KV cache; keeps no state, so requests can be
checked from any thread. What passes here is finished, however long it has to wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wazn.engine.memory import GIB, MIB, default_budget
from wazn.engine.pages import pages_for
from wazn.engine.params import SamplingParams
from wazn.engine.served_model import ServedModel
from wazn.errors import BadRequest, DoesNotFit
from wazn.models.batch import PAGE


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sequence may use; ``context`` is the engine's, ``model_context`` the model's own."""

    vocab_size: int
    context: int
    model_context: int
    num_pages: int
    page_bytes: int
    num_slots: int = 0  # sequences that can have a state at once; 0: the model has none

    @property
    def capacity(self) -> int:
        """Positions that one sequence can have when it runs alone."""
        return min(self.context, self.num_pages * PAGE)

    def check_ids(self, token_ids: Sequence[int]) -> NDArray[np.int32]:
        """The ids of a prompt as an array (n,); BadRequest if there are none or one is unknown."""
        try:
            ids = np.asarray(token_ids)
        except ValueError:  # nested lists of different lengths
            ids = np.empty(0, dtype=object)
        if ids.ndim == 1 and not len(token_ids):
            raise BadRequest("the prompt is empty: it has no tokens. Give it at least one.")
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise BadRequest(
                f"a prompt of token ids is a list of whole numbers, not {_short(ids)}."
            )
        outside = np.flatnonzero((ids < 0) | (ids >= self.vocab_size))
        if len(outside):
            raise BadRequest(
                f"token id {ids[outside[0]]} at place {outside[0]} of the prompt is not in the "
                f"model's vocabulary, which has ids 0 to {self.vocab_size - 1}."
            )
        return ids.astype(np.int32)

    def check_params(self, params: SamplingParams) -> None:
        """BadRequest if a parameter names a token id outside the vocabulary."""
        for field in ("stop_token_ids", "logit_bias"):
            for token_id in getattr(params, field) or ():
                if token_id >= self.vocab_size:
                    raise BadRequest(
                        f"{field} has token id {token_id}; the model's vocabulary has ids 0 to "
                        f"{self.vocab_size - 1}."
                    )

    def known(self, token_ids: frozenset[int]) -> frozenset[int]:
        """Those that the model can choose: a tokenizer may have more than the model."""
        return frozenset(token_id for token_id in token_ids if token_id < self.vocab_size)

    def check_stops(self, stop_ids: frozenset[int], min_tokens: int) -> None:
        """BadRequest if no token is left to choose from before there are ``min_tokens``."""
        if min_tokens and len(stop_ids) >= self.vocab_size:
            raise BadRequest(
                f"min_tokens is {min_tokens}, and stop_token_ids has all {self.vocab_size} tokens "
                "of the model's vocabulary: nothing could be answered. Leave some out."
            )

    def max_length(self, prompt_tokens: int, max_tokens: int | None) -> int:
        """The length that prompt and answer may reach; DoesNotFit if it could never be."""
        if prompt_tokens >= self.context:
            raise DoesNotFit(
                f"prompt has {prompt_tokens} tokens; {self._context_fact}, the answer included. "
                f"Shorten it{self._larger_context(prompt_tokens + (max_tokens or 1))}."
            )
        if max_tokens is None:
            self._check_memory(prompt_tokens + 1, f"prompt has {prompt_tokens} tokens")
            return self.capacity
        total = prompt_tokens + max_tokens
        facts = f"prompt has {prompt_tokens} tokens and max_tokens is {max_tokens}"
        if total > self.context:
            raise DoesNotFit(
                f"{facts}, together {total}; {self._context_fact}. Ask for at most "
                f"{self.context - prompt_tokens} tokens{self._larger_context(total)}."
            )
        self._check_memory(total, facts)
        return total

    def check_input(self, num_tokens: int) -> None:
        """DoesNotFit if an input that needs no answer exceeds the context or the memory."""
        if num_tokens > self.context:
            raise DoesNotFit(
                f"input has {num_tokens} tokens; {self._context_fact}. "
                f"Shorten it{self._larger_context(num_tokens)}."
            )
        self._check_memory(num_tokens, f"input has {num_tokens} tokens")

    @property
    def _context_fact(self) -> str:
        return f"this model's context is {self.context}"

    def _larger_context(self, needed: int) -> str:
        """The remedy of a larger context, if the model has one that would do."""
        if needed > self.model_context:
            return ""
        rounded = 1 << (needed - 1).bit_length()
        return f" or start with --context {min(rounded, self.model_context)}"

    def _check_memory(self, num_positions: int, facts: str) -> None:
        if num_positions > self.num_pages * PAGE:
            needed = pages_for(num_positions) * self.page_bytes / GIB
            budget = self.num_pages * self.page_bytes / GIB
            raise DoesNotFit(
                f"{facts}; that needs {needed:.2f} GiB of KV memory, and the budget of "
                f"{budget:.2f} GiB holds {self.num_pages * PAGE} tokens. Shorten it or start with "
                "more memory= (--memory)."
            )


def measure(model: ServedModel, context: int | None, memory_bytes: int | None) -> Limits:
    """The limits of a model under a context in tokens and a KV budget in bytes.

    None: the model's context, free memory minus 2 GiB. BadRequest for a context that the model
    does not have, DoesNotFit if the budget holds not even one page.
    """
    model_context = model.config.context_length
    if context is None:
        context = model_context
    elif not 1 < context <= model_context:
        raise BadRequest(f"context is {context}; this model takes 2 to {model_context} tokens.")
    budget = default_budget(model.weight_bytes) if memory_bytes is None else memory_bytes
    num_slots = _num_slots(model, budget)
    budget -= (num_slots + 1) * model.state_bytes
    if budget < model.page_bytes:
        raise DoesNotFit(
            f"the memory budget is {max(budget, 0) / MIB:.1f} MiB{_besides(model, num_slots)}; "
            f"the smallest piece of this model's KV cache takes {model.page_bytes / MIB:.1f} MiB "
            f"({PAGE} tokens). Start with more memory= (--memory)."
        )
    # More than every row of a step in a sequence of its own, each of full length, has no use. Pages
    # take no memory where all layers have states only.
    num_pages = model.max_rows * pages_for(context)
    return Limits(
        vocab_size=model.config.vocab_size,
        context=context,
        model_context=model_context,
        num_pages=min(budget // model.page_bytes, num_pages) if model.page_bytes else num_pages,
        page_bytes=model.page_bytes,
        num_slots=num_slots,
    )


def _num_slots(model: ServedModel, budget: int) -> int:
    """How many sequences can have a state: what a quarter of the budget holds, at least one."""
    if not model.state_bytes:
        return 0
    return min(max(budget // 4 // model.state_bytes - 1, 1), model.max_rows)


def _besides(model: ServedModel, num_slots: int) -> str:
    """The figures of the states, if the model has any."""
    if not num_slots:
        return ""
    return f" beside {num_slots + 1} states of {model.state_bytes / MIB:.1f} MiB"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
