"""Attention over a window of positions and compressed rows of all before (DeepSeek-AI 2026).

Of each position the cache keeps one vector, key and value of all heads at once; of every so many
positions it keeps one more, pooled from projections of theirs, and of keys that choose among
these, again one. A head has a sink: a score that no value is read for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.models.recorder import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Compressor:
    """Pools ``rate`` rows, or, overlapping, twice as many: those before with the first half of
    their columns. biases (rate, columns); weight of the pooled row's norm; ``rotated`` of its last
    columns, by angle table ``table`` at its first position.
    """

    rate: int
    overlaps: bool
    biases: NDArray[np.float32]
    weight: NDArray[np.float32]
    eps: float
    rotated: int
    table: int


def compress(values: Tensor, gates: Tensor, how: Compressor) -> Tensor:
    """Rows of the cache, one for each ``rate`` positions: weighted by softmax(gates + biases)."""
    latent = values.columns // 2 if how.overlaps else values.columns
    fits = (
        values.columns == gates.columns
        and how.biases.size == how.rate * values.columns
        and len(how.weight) == latent
    )
    if not fits or latent % 16:
        raise BadFile(
            f"values and gates of {values.columns} and {gates.columns} columns with "
            f"{how.biases.size} biases and a norm of {len(how.weight)} cannot be compressed "
            f"{how.rate} to one"
        )
    return values.recorder.node("compress", latent, (values, gates), detail=how)


def select_entries(
    query: Tensor, weights: Tensor, keys: Tensor, top_k: int, scale: float
) -> Tensor:
    """The ``top_k`` compressed rows of ``keys`` with the best scores (see latent.select)."""
    if query.columns != weights.columns * keys.columns:
        raise BadFile(
            f"an index with queries of {query.columns} and weights of {weights.columns} columns "
            f"does not fit keys of {keys.columns}"
        )
    inputs = query, weights, keys
    return query.recorder.node("select_entries", top_k, inputs, number=scale)


class Seen(NamedTuple):
    """What a query sees: its position's vector and those of a window before it, and compressed
    rows, all or those selected."""

    vector: Tensor
    window: int
    entries: Tensor | None = None
    selected: Tensor | None = None


def attend_window(query: Tensor, seen: Seen, sinks: NDArray[np.float32], scale: float) -> Tensor:
    """Attention of all heads, (tokens, heads * size), keys and values being the same vectors."""
    heads, size = len(sinks), seen.vector.columns
    if query.columns != heads * size or size % 16:
        raise BadFile(
            f"queries of {query.columns} columns do not fit {heads} heads with vectors of {size}, "
            "a multiple of 16"
        )
    inputs = tuple(x for x in (query, seen.vector, seen.entries, seen.selected) if x is not None)
    detail = sinks, seen.window
    return query.recorder.node(
        "attend_window", query.columns, inputs, number=scale, heads=heads, detail=detail
    )
