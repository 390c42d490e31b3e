"""How much memory a model needs, part by part: weights by role, caches, state, working memory.

``Load`` is what it is asked to do: so many users at once, each with so long a context. The KV
cache counts what that many sequences fill; wazn takes pages as they are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from wazn.errors import BadRequest
from wazn.plan.shape import ROLES, Cache, Role, Shape

KvFormat = Literal["float32", "float16", "int8"]

NUMBER_BYTES: Mapping[KvFormat, int] = {"float32": 4, "float16": 2, "int8": 1}
SCALE_BYTES = 4  # of int8: a float32 for every vector of a head

PROCESS_BYTES = 100 << 20
"""Interpreter, libraries, tokenizer: what is resident beside weights, cache and buffers. With it,
two prompts of 600 tokens to a 1.1 B file of 655 MB take 807 MB; measured were 793."""

MAX_USERS, MAX_CONTEXT = 4096, 1 << 27


@dataclass(frozen=True, slots=True)
class Load:
    """``users`` sequences at once of ``context`` tokens each."""

    users: int
    context: int

    def __post_init__(self) -> None:
        for name, value, most in (
            ("users", self.users, MAX_USERS),
            ("context", self.context, MAX_CONTEXT),
        ):
            if not 1 <= value <= most:
                raise BadRequest(f"{name} is {value}; give a number from 1 to {most}.")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by part. ``weights`` by role; ``cache`` and ``state`` of all users together."""

    weights: Mapping[Role, int]
    cache: int
    state: int
    working: int

    @property
    def weight_bytes(self) -> int:
        """All weights: what the files weigh."""
        return sum(self.weights.values())

    @property
    def total(self) -> int:
        """All of it."""
        return self.weight_bytes + self.cache + self.state + self.working


def memory_of(shape: Shape, load: Load, kv: KvFormat) -> Memory:
    """What the shape needs under that load."""
    weights: dict[Role, float] = dict.fromkeys(ROLES, 0.0)
    for part in shape.weights:
        weights[part.role] += part.num_bytes
    return Memory(
        weights={role: round(num_bytes) for role, num_bytes in weights.items() if num_bytes},
        cache=load.users
        * sum(
            cache.layers * cache.kept(load.context) * entry_bytes(cache, kv)
            for cache in shape.caches
        ),
        state=load.users * shape.state_bytes,
        working=PROCESS_BYTES + _buffers(shape, load),
    )


def step_rows(shape: Shape) -> int:
    """Rows of one step at most: longer prompts are taken in slices."""
    return 512 if any(part.role == "expert" for part in shape.weights) else 256


def entry_bytes(cache: Cache, kv: KvFormat) -> int:
    """Bytes of one entry in one layer."""
    scales = cache.heads * SCALE_BYTES if kv == "int8" else 0
    return cache.numbers * NUMBER_BYTES[kv] + scales


def _buffers(shape: Shape, load: Load) -> int:
    """Activations of a step and the logits of those rows that are wanted, float32.

    The program reuses buffers, so that about four of the hidden size and two of the widest matrix
    are alive at once.
    """
    widest = max(
        (
            max(part.rows, part.columns)
            for part in shape.weights
            if part.role not in ("embedding", "head", "table", "vector")
        ),
        default=shape.hidden_size,
    )
    activations = step_rows(shape) * (4 * shape.hidden_size + 2 * widest)
    return 4 * (activations + load.users * shape.vocab_size)
