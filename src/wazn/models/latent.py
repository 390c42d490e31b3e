"""Multi-head latent attention in its absorbed form (DeepSeek-AI 2024), as operations of a block.

Of each position the cache keeps one latent vector, which is key and value of all heads, and one
rotated key that they share. Queries are taken to the latent space by a matrix per head, and what
attention gathers there is taken back by another: keys and values of single heads never exist.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wazn import native
from wazn.errors import BadFile
from wazn.models.recorder import Tensor


class PerHead:
    """y_h = W_h x_h for each head h, W of shape (heads, out, in)."""

    def __init__(self, name: str, weights: native.Weight) -> None:
        self._name = name
        self._weights = weights

    def __call__(self, x: Tensor) -> Tensor:
        heads, rows, columns = self._weights.count, self._weights.rows, self._weights.columns
        if x.columns != heads * columns:
            raise BadFile(
                f"tensor {self._name} has {heads} matrices of {columns} columns where the model's "
                f"shape needs {x.columns} columns together"
            )
        return x.recorder.node("per_head", heads * rows, (x,), self._weights, heads=heads)


class Latents(NamedTuple):
    """What a position leaves in the cache: (tokens, latent), and (tokens, rotary) of the key."""

    latent: Tensor
    rotary: Tensor


class Index(NamedTuple):
    """What chooses positions: (tokens, heads * dim), (tokens, dim) and (tokens, heads)."""

    query: Tensor
    key: Tensor
    weights: Tensor


def select(index: Index, top_k: int, scale: float) -> Tensor:
    """The ``top_k`` positions up to a row's own with the largest sum over heads h of
    weights_h * max(scale * query_h · key, 0); of equal ones the lowest."""
    heads, dim = index.weights.columns, index.key.columns
    if index.query.columns != heads * dim or dim % 16:
        raise BadFile(
            f"an index with queries of {index.query.columns}, keys of {dim} and weights of {heads} "
            "columns is not supported; a query for each head, of a multiple of 16, is"
        )
    return index.query.recorder.node("select", top_k, tuple(index), number=scale, heads=heads)


class LayerNorm:
    """(x - mean) / sqrt(variance + eps) * weight + bias (Ba 2016)."""

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32], eps: float) -> None:
        self._weight = weight
        self._bias = bias
        self._eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        if not len(self._weight) == len(self._bias) == x.columns:
            raise BadFile(
                f"a norm of {len(self._weight)} weights and {len(self._bias)} biases meets "
                f"{x.columns} columns"
            )
        parts = self._weight, self._bias
        return x.recorder.node("layer_norm", x.columns, (x,), number=self._eps, detail=parts)


def attend_latent(
    query: Tensor, rotary: Tensor, cached: Latents, scale: float, selected: Tensor | None = None
) -> Tensor:
    """Causal attention of all heads to the latent vectors; (tokens, heads * latent).

    query: (tokens, heads * latent); rotary: (tokens, heads * rotary), rotated. ``selected``: only
    to the positions of a selection.
    """
    heads = query.columns // cached.latent.columns
    expected = heads * cached.latent.columns, heads * cached.rotary.columns
    if not heads or (query.columns, rotary.columns) != expected:
        raise BadFile(
            f"queries of {query.columns} and {rotary.columns} columns do not fit latent vectors of "
            f"{cached.latent.columns} and rotated keys of {cached.rotary.columns}"
        )
    if cached.latent.columns % 16:
        raise BadFile(
            f"latent vectors of {cached.latent.columns} columns are not supported; multiples of 16 "
            "are"
        )
    inputs = (query, rotary, *cached, *(() if selected is None else (selected,)))
    return query.recorder.node("attend_latent", query.columns, inputs, number=scale, heads=heads)
