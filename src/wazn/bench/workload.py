"""The work every contender does: which prompts, how many tokens, and what is timed.

The token ids are random, so that no cache of prompts helps anybody, and seeded by the pair, so that
the contenders of one pair get the same ones. Speed does not depend on which tokens they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

Kind = Literal["prefill", "decode"]
Prompts = Sequence[Sequence[int]]

KINDS: tuple[Kind, ...] = ("prefill", "decode")
PROMPT_TOKENS = {"prefill": 512, "decode": 256}
DECODED_TOKENS = 64
MAX_USERS = 64  # with more, their decode rows would leave too little of a step to the prompts


@dataclass(frozen=True, slots=True)
class Task:
    """One cell of the result: a kind of work for a number of sequences at once."""

    kind: Kind
    users: int
    context: int | None = None  # tokens of each prompt; None: PROMPT_TOKENS

    def __str__(self) -> str:
        after = "" if self.context is None else f" of {self.context}"
        return f"{self.kind}{after} with {self.users}"

    @property
    def prompt_tokens(self) -> int:
        """Tokens of one prompt."""
        return PROMPT_TOKENS[self.kind] if self.context is None else self.context

    @property
    def num_tokens(self) -> int:
        """Tokens that the measured time produced or took in."""
        return self.users * (DECODED_TOKENS if self.kind == "decode" else self.prompt_tokens)

    def prompts(self, pair: int, vocab_size: int, num_tokens: int | None = None) -> list[list[int]]:
        """Random prompts, one per user; the same for the same pair. Shorter for a warm-up."""
        length = self.prompt_tokens if num_tokens is None else num_tokens
        random = np.random.default_rng([pair, self.users, KINDS.index(self.kind)])
        drawn: list[list[int]] = random.integers(0, vocab_size, (self.users, length)).tolist()
        return drawn


class Contender(Protocol):
    """An engine with a model loaded. Both tasks choose greedily from logits of last rows only."""

    name: str
    version: str
    vocab_size: int

    def prefill(self, prompts: Prompts) -> float:
        """Seconds from the prompts to the first token of every one of them."""

    def decode(self, prompts: Prompts) -> float:
        """Seconds of DECODED_TOKENS further tokens for each, after their prompts are read."""

    def work(self) -> dict[str, int]:
        """What the work amounts to, as far as the contender knows its own.

        ``weight_bytes``: read by every decode step, ``position_bytes``: of keys and values, read
        for every position of every sequence, ``prefill_macs``: multiply-accumulates per prompt
        token.
        """
