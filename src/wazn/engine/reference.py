"""NumPy twin of the native sampler: the same operations in the same order, bit for bit.

The definition of the arithmetic: a sum over the vocabulary is taken by blocks of 64, each in 16
lanes of float32, the blocks from left to right in float64; a sum over a list of candidates goes
from left to right in float64. Slow, and never a stand-in for the product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp

import numpy as np
from numpy.typing import NDArray

from wazn.engine.defaults import Sampling
from wazn.engine.plan import Plan
from wazn.engine.request import TokenLogprob
from wazn.models.reference import exp, sum_lanes

Floats = NDArray[np.float32]

SMALLEST_TEMPERATURE = 1e-5  # below it, gaps of 0.001 are already e**-100: greedy but for ties
BLOCK = 64
_WORD = 2**64 - 1


def philox(key: tuple[int, int], counter: int) -> tuple[int, int, int, int]:
    """Block ``counter`` of Philox-4x64-10 (Salmon et al. 2011) under a key of two 64-bit words."""
    x0, x1, x2, x3 = counter, 0, 0, 0
    k0, k1 = key
    for _ in range(10):
        product_0, product_1 = x0 * 0xD2E7470EE14C6C93, x2 * 0xCA5A826395121157
        x0, x1 = (product_1 >> 64) ^ x1 ^ k0, product_1 & _WORD
        x2, x3 = (product_0 >> 64) ^ x3 ^ k1, product_0 & _WORD
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & _WORD, (k1 + 0xBB67AE8584CAA73B) & _WORD
    return x0, x1, x2, x3


def uniform(seed: int, stream: int, position: int) -> float:
    """A float64 in [0, 1) with 53 random bits; ``seed`` may be any 64-bit integer, signed or not.

    ``stream`` tells the answers of one request apart; ``position`` is the drawn token's own.
    """
    return float((philox((seed & _WORD, stream), position)[0] >> 11) * 2.0**-53)


def choose(logits: Floats, plan: Plan, index: int, answer: Sequence[int] = ()) -> int:
    """The token of completion ``index`` that follows ``answer``; ``logits`` (vocab,) are kept."""
    logits = adjusted(logits, plan, answer)
    sampling = plan.sampling
    if sampling.temperature == 0:
        return int(logits.argmax())
    quantile = uniform(plan.seed, index, len(plan.prompt_ids) + len(answer))
    if not _has_filters(sampling, len(logits)):
        return _draw_weight(exp(_scaled(logits, sampling)), quantile)
    candidates = filtered(logits, sampling)
    sums = np.cumsum(candidates.weights, dtype=np.float64)
    return int(candidates.ids[np.searchsorted(sums, quantile * sums[-1], side="right")])


def adjusted(logits: Floats, plan: Plan, answer: Sequence[int] = ()) -> Floats:
    """Logits (vocab,) after penalties, bias and the ban on stop ids."""
    params, sampling = plan.request.params, plan.sampling
    result = logits.copy()
    seen = np.unique(np.array([*plan.prompt_ids.tolist(), *answer], dtype=np.int64))
    factor = np.float32(sampling.repetition_penalty)
    if factor != 1:
        values = result[seen]
        result[seen] = np.where(values > 0, values / factor, values * factor)
    for token_id, count in Counter(answer).items():
        frequency = np.float32(sampling.frequency_penalty) * np.float32(count)
        result[token_id] -= frequency + np.float32(sampling.presence_penalty)
    for token_id, bias in (params.logit_bias or {}).items():
        result[token_id] += np.float32(bias)
    if len(answer) < params.min_tokens:
        result[sorted(plan.stop_ids)] = -np.inf
    return result


def token_logprob(logits: Floats, token_id: int, num_top: int) -> TokenLogprob:
    """Log probabilities of ``token_id`` and the ``num_top`` likeliest, of the raw ``logits``."""
    peak = logits.max()
    with np.errstate(over="ignore"):  # what lies that far below the peak has no weight
        total = _sum_blocks(exp(logits - peak))[-1]
    normaliser = float(peak) + _natural_log(float(total))
    top = np.argsort(-logits, kind="stable")[:num_top].tolist()
    found = [(i, float(logits[i]) - normaliser) for i in top]
    return TokenLogprob(token_id, float(logits[token_id]) - normaliser, found)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Token ids (n,) and their unnormalised probabilities (n,) float32, in the order of a draw."""

    ids: NDArray[np.int64]
    weights: Floats

    def select(self, places: NDArray[np.int64]) -> Candidates:
        return Candidates(self.ids[places], self.weights[places])


def filtered(logits: Floats, sampling: Sampling) -> Candidates:
    """What the filters leave of the distribution of ``logits`` (vocab,): at least one id."""
    scaled = _scaled(logits, sampling)
    weights = exp(scaled)
    all_ids = np.arange(len(logits))
    candidates = Candidates(all_ids, weights)
    has_top_k = 0 < sampling.top_k < len(logits)
    if has_top_k:
        least = np.sort(logits)[len(logits) - sampling.top_k]
        candidates = candidates.select(np.flatnonzero(logits >= least))
    if sampling.typical_p < 1:
        candidates = _typical(candidates, scaled, sampling.typical_p)
    if sampling.top_p < 1 and not has_top_k and sampling.typical_p >= 1:
        total = float(_sum_blocks(weights)[-1])
        floor = np.float32(0.999 * (1 - sampling.top_p) / len(logits) * total)
        candidates = candidates.select(np.flatnonzero(weights >= floor))
        candidates = _shortest_prefix(candidates, -candidates.weights, sampling.top_p * total)
    elif sampling.top_p < 1:
        total = float(np.cumsum(candidates.weights, dtype=np.float64)[-1])
        candidates = _shortest_prefix(candidates, -candidates.weights, sampling.top_p * total)
    if sampling.min_p > 0:
        least = np.float32(sampling.min_p) * candidates.weights.max()
        candidates = candidates.select(np.flatnonzero(candidates.weights >= least))
    return candidates


def _has_filters(sampling: Sampling, vocab_size: int) -> bool:
    return (
        0 < sampling.top_k < vocab_size
        or sampling.typical_p < 1
        or sampling.top_p < 1
        or sampling.min_p > 0
    )


def _scaled(logits: Floats, sampling: Sampling) -> Floats:
    """Logits under the temperature, shifted so that the largest is 0."""
    inverse = np.float32(1) / np.float32(max(sampling.temperature, SMALLEST_TEMPERATURE))
    with np.errstate(over="ignore"):  # what lies that far below the peak has no weight
        scaled: Floats = (logits - logits.max()) * inverse
    return scaled


def _typical(candidates: Candidates, scaled: Floats, mass: float) -> Candidates:
    """Ids whose surprise is nearest the entropy, up to ``mass`` (Meister et al. 2022).

    Both are taken from scaled logits, whose distance from a surprise is the same for all ids.
    """
    candidates = candidates.select(np.flatnonzero(candidates.weights))
    mine = scaled[candidates.ids]
    moment = np.cumsum(candidates.weights.astype(np.float64) * mine)[-1]
    total = np.cumsum(candidates.weights, dtype=np.float64)[-1]
    distance = np.abs(mine - np.float32(moment / total))
    return _shortest_prefix(candidates, distance, mass * float(total))


def _shortest_prefix(candidates: Candidates, keys: Floats, mass: float) -> Candidates:
    """Candidates in ascending order of key (of equals, the first) until they weigh ``mass``.

    At least one, all if they do not reach it.
    """
    order = np.argsort(keys, kind="stable")
    sums = np.cumsum(candidates.weights[order], dtype=np.float64)
    return candidates.select(order[: int(np.searchsorted(sums, mass, side="left")) + 1])


def _sum_blocks(weights: Floats) -> NDArray[np.float64]:
    """Running sums (blocks,) of ``weights`` (vocab,) by blocks."""
    padded = np.zeros(-(-len(weights) // BLOCK) * BLOCK, np.float32)
    padded[: len(weights)] = weights
    parts = padded.reshape(-1, BLOCK // 16, 16)
    lanes = parts[:, 0]
    for part in range(1, BLOCK // 16):
        lanes = lanes + parts[:, part]
    return np.cumsum(sum_lanes(lanes), dtype=np.float64)


def _draw_weight(weights: Floats, quantile: float) -> int:
    """The id at ``quantile`` of all ``weights``: first the block, then the id inside."""
    sums = _sum_blocks(weights)
    target = quantile * sums[-1]
    block = int(np.searchsorted(sums, target, side="right"))
    inside = weights[block * BLOCK : (block + 1) * BLOCK]
    before = sums[block - 1] if block else 0.0
    place = int(np.searchsorted(np.cumsum(inside, dtype=np.float64), target - before, "right"))
    # The two sums round differently: past the end means the last id that has any weight.
    return block * BLOCK + min(place, int(np.flatnonzero(inside)[-1]))


def _natural_log(x: float) -> float:
    """ln x for x >= 1: x = m 2ⁿ with m near 1, and ln m = 2 artanh s = 2 (s + s³/3 + s⁵/5 …)."""
    m, exponent = frexp(x)
    if m < 0.70710678118654752:
        m, exponent = m * 2, exponent - 1
    s = (m - 1) / (m + 1)
    series = 0.0
    for divisor in range(23, 0, -2):
        series = series * (s * s) + 1.0 / divisor
    return exponent * 0.69314718055994531 + 2 * s * series
