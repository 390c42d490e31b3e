"""How far next-token distributions lie from a reference: divergence, agreement, perplexity.

Kullback-Leibler divergence KL(reference || other) over the full vocabulary in natural logarithms,
computed in float64. Texts are scored window by window; tokens of one window depend on each other,
so confidence intervals draw whole windows (bootstrap), from a fixed seed. Knows logits and ids,
nothing of engines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHUNK_ROWS = 64  # bounds the float64 copies: 64 rows of 150,000 logits are 77 MB each
DRAWS = 10_000
SEED = 0


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over a window: divergence in nat, tokens with the same argmax, loss in nat."""

    divergence: float
    agreed: int
    loss: float


@dataclass(frozen=True, slots=True)
class Window:
    """One window scored. ``entropy`` and ``loss`` (in nat, sums) are the reference's own.

    Divergence, agreement and entropy are taken after each of ``num_tokens`` tokens; losses after
    all but the last, whose next token is not known.
    """

    num_tokens: int
    entropy: float
    loss: float
    scores: Mapping[str, Score]


@dataclass(frozen=True, slots=True)
class Summary:
    """One contender against the reference, per token; ``interval`` is the divergence's 95%."""

    divergence: float
    interval: tuple[float, float]
    agreement: float
    perplexity: float


def score_window(
    token_ids: NDArray[np.int64],
    reference: NDArray[np.float32],
    others: Mapping[str, NDArray[np.float32]],
) -> Window:
    """Score the logits (tokens, vocab) that the reference and others give after each token."""
    entropy = loss = 0.0
    totals = {name: np.zeros(3) for name in others}
    for start in range(0, len(token_ids), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        targets = token_ids[start + 1 : start + 1 + CHUNK_ROWS]
        expected = _log_softmax(reference[rows])
        probabilities = np.exp(expected)
        entropy -= float((probabilities * expected).sum())
        loss += _loss(expected, targets)
        for name, logits in others.items():
            found = _log_softmax(logits[rows])
            totals[name] += (
                (probabilities * (expected - found)).sum(),
                (found.argmax(axis=1) == expected.argmax(axis=1)).sum(),
                _loss(found, targets),
            )
    scores = {name: Score(float(d), int(a), float(x)) for name, (d, a, x) in totals.items()}
    return Window(len(token_ids), entropy, loss, scores)


def summarize(windows: Sequence[Window], name: str) -> Summary:
    """Means per token over all windows, for one contender."""
    scores = [window.scores[name] for window in windows]
    num_tokens = np.array([window.num_tokens for window in windows])
    divergences = np.array([score.divergence for score in scores])
    return Summary(
        divergence=float(divergences.sum() / num_tokens.sum()),
        interval=_interval(divergences, num_tokens),
        agreement=float(sum(score.agreed for score in scores) / num_tokens.sum()),
        perplexity=math.exp(sum(score.loss for score in scores) / (num_tokens - 1).sum()),
    )


def _interval(sums: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, float]:
    """The middle 95% of the mean over windows drawn with replacement."""
    drawn = np.random.default_rng(SEED).integers(0, len(sums), (DRAWS, len(sums)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (0.025, 0.975))
    return float(low), float(high)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def _loss(log_probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    rows = np.arange(len(targets))
    return -float(log_probabilities[rows, targets].sum())
