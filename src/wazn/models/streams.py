"""Several streams of a residual (hyper-connections, Xie 2026), as operations of a block.

A row of streams has them side by side. Each sublayer has weights of its own, computed from the
streams: how much it takes of each, how much it adds to each, and how they are mixed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.models.recorder import Tensor


@dataclass(frozen=True, slots=True)
class HyperConfig:
    """``iterations`` of making the mixing matrix doubly stochastic; ``eps`` of every division."""

    streams: int
    iterations: int
    eps: float


class HyperWeights:
    """Weights of the streams from their products: x * scales + biases, then made proper.

    Of a sublayer: biases (2 + streams) * streams and three scales; of the end: one for each
    stream and one scale.
    """

    def __init__(
        self, biases: NDArray[np.float32], scales: NDArray[np.float32], config: HyperConfig
    ) -> None:
        self._biases = biases
        self._scales = scales
        self._config = config

    def __call__(self, x: Tensor) -> Tensor:
        n = self._config.streams
        fits = {(n, 1), ((2 + n) * n, 3)}
        if len(self._biases) != x.columns or (x.columns, len(self._scales)) not in fits:
            raise BadFile(
                f"{n} streams with {x.columns} products, {len(self._biases)} biases and "
                f"{len(self._scales)} scales do not fit one another"
            )
        detail = self._scales, self._biases, self._config
        return x.recorder.node("hyper_weights", x.columns, (x,), detail=detail)


def repeat(x: Tensor, streams: int) -> Tensor:
    """x in every stream."""
    return x.recorder.node("repeat", x.columns * streams, (x,))


def collapse(x: Tensor, weights: Tensor, streams: int) -> Tensor:
    """The sum over streams of their first weight times the stream: (tokens, hidden)."""
    return x.recorder.node("collapse", x.columns // streams, (x, weights))


def expand(x: Tensor, weights: Tensor, result: Tensor) -> Tensor:
    """A sublayer's result added to each stream, and the streams mixed."""
    if x.columns % result.columns:
        raise BadFile(f"streams of {x.columns} columns meet {result.columns} columns")
    return x.recorder.node("expand", x.columns, (x, weights, result))
