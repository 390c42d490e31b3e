"""Linear attention with a gated delta rule (Yang 2024), as operations of a block.

A sequence has a state of fixed size in place of keys and values: rows of one sequence follow one
another, each decaying, correcting and reading what the rows before left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.models.recorder import Tensor


class CausalConvolution:
    """silu of a weighted sum of a column's last ``len(weight)`` values; weight (size, columns)."""

    def __init__(self, name: str, weight: NDArray[np.float32]) -> None:
        self._name = name
        self._weight = weight

    def __call__(self, x: Tensor) -> Tensor:
        if self._weight.shape[1] != x.columns:
            raise BadFile(
                f"tensor {self._name} has {self._weight.shape[1]} columns where the model's shape "
                f"needs {x.columns}"
            )
        return x.recorder.node("causal_conv", x.columns, (x,), vector=self._weight)


class Heads(NamedTuple):
    """How many; ``tiled``: value head h reads key head h mod keys, not h // (values / keys)."""

    keys: int
    values: int
    tiled: bool


class DeltaGates(NamedTuple):
    """How fast a head forgets: e^(rate * softplus(a + bias)); both (value heads,)."""

    rate: NDArray[np.float32]
    bias: NDArray[np.float32]


def unit_length(x: Tensor, heads: int, factor: float = 1.0) -> Tensor:
    """Each head of x divided by its length, times ``factor``."""
    if x.columns % heads:
        raise BadFile(f"{heads} heads do not divide {x.columns} columns")
    return x.recorder.node("unit_length", x.columns, (x,), number=factor, heads=heads)


class Delta(NamedTuple):
    """The inputs of a delta rule, all (tokens, …)."""

    query: Tensor  # key heads * key size
    key: Tensor
    value: Tensor  # value heads * value size
    a: Tensor  # value heads: how fast to forget
    b: Tensor  # value heads: how much to correct


def delta_rule(inputs: Delta, gates: DeltaGates, heads: Heads) -> Tensor:
    """S ← e^g S; S ← S + k (σ(b) (v - S'k))'; S'q, head by head: (tokens, value columns)."""
    query, key, value, a, b = inputs
    fits = (
        query.columns == key.columns
        and query.columns % heads.keys == 0
        and value.columns % heads.values == 0
        and a.columns == b.columns == heads.values == len(gates.rate) == len(gates.bias)
    )
    if not fits:
        raise BadFile(
            f"queries, keys and values of {query.columns}, {key.columns} and {value.columns} "
            f"columns and gates of {a.columns} do not fit {heads.keys} key and {heads.values} "
            "value heads of a delta net"
        )
    if value.columns // heads.values % 16:
        raise BadFile(
            f"values of size {value.columns // heads.values} are not supported in a delta net; "
            "multiples of 16 are"
        )
    return query.recorder.node(
        "delta_rule", value.columns, tuple(inputs), heads=heads.keys, detail=(gates, heads)
    )
