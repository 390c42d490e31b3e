"""What a model is made of, as far as memory and speed ask: matrices, caches, recurrent state.

Numbers of elements only: a shape knows no names of tensors and no machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal[
    "embedding", "head", "attention", "dense", "shared", "expert", "router", "vector", "table"
]

ROLES: dict[Role, str] = {
    "embedding": "input embedding, of which a token reads one row",
    "head": "output matrix (when tied, the embedding too)",
    "attention": "projections of attention and of recurrent layers",
    "dense": "feed-forward of dense layers",
    "shared": "experts that every token takes",
    "expert": "experts that a router chooses",
    "router": "routers",
    "vector": "norms, biases and other vectors",
    "table": "lookup tables, of which a token reads a few rows",
}


@dataclass(frozen=True, slots=True)
class Weights:
    """``count`` matrices of ``rows`` x ``columns``, ``bits`` for each of their numbers."""

    role: Role
    rows: int
    columns: int
    count: int = 1
    bits: float = 16.0

    @property
    def elements(self) -> int:
        """Numbers in all of them."""
        return self.rows * self.columns * self.count

    @property
    def num_bytes(self) -> float:
        """Bytes of all of them."""
        return self.elements * self.bits / 8


@dataclass(frozen=True, slots=True)
class Cache:
    """What ``layers`` layers keep of every sequence: ``numbers`` per entry and layer.

    An entry stands for ``positions`` positions. ``window``: only the last so many positions are
    attended to; those before them stay in their pages. ``chosen``: a query attends to so many
    entries at most, picked from all of them. ``macs`` are the multiply-accumulates of one query
    position with one entry. ``heads``: how many groups of the numbers have a scale of their own
    when they are stored as int8.
    """

    layers: int
    numbers: int
    macs: int
    heads: int
    positions: int = 1
    window: int | None = None
    chosen: int | None = None

    def kept(self, context: int) -> int:
        """Entries of one layer after ``context`` positions."""
        return context // self.positions

    def attended(self, context: int) -> int:
        """Entries that the query of the last of ``context`` positions multiplies with."""
        seen = min(context, self.window or context) // self.positions
        return min(seen, self.chosen or context)


@dataclass(frozen=True, slots=True)
class Experts:
    """A router chooses ``per_token`` of ``count`` experts for each token."""

    count: int
    per_token: int

    def distinct(self, tokens: int) -> float:
        """How many different experts ``tokens`` tokens need, if all are equally likely."""
        return self.count * (1 - (1 - self.per_token / self.count) ** tokens)


@dataclass(frozen=True, slots=True)
class Shape:
    """One model. ``state_bytes``: recurrent state of a sequence, whatever its length.

    ``state_macs``: multiply-accumulates that updating it takes, for each token.
    """

    family: str
    num_layers: int
    hidden_size: int
    vocab_size: int
    context_length: int
    weights: tuple[Weights, ...]
    caches: tuple[Cache, ...]
    experts: Experts | None = None
    state_bytes: int = 0
    state_macs: int = 0

    @property
    def parameters(self) -> int:
        """All numbers of the model."""
        return sum(part.elements for part in self.weights)

    @property
    def active_parameters(self) -> float:
        """Numbers that one token multiplies with, the output matrix included."""
        return sum(part.elements * self.share_read(part.role, 1) for part in self.weights)

    def share_read(self, role: Role, tokens: int) -> float:
        """The share of the weights of a role that a step over ``tokens`` tokens reads."""
        if role in ("embedding", "table"):
            return 0.0  # single rows
        if role == "expert" and self.experts is not None:
            return self.experts.distinct(tokens) / self.experts.count
        return 1.0
