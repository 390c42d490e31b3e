"""NumPy twins of the kernels of latent attention, linear attention and streams, bit for bit.

As ``reference``, and by its rules: the definition of the arithmetic, and never a stand-in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wazn.models.reference import (
    Attended,
    Cached,
    Floats,
    Integers,
    Shaping,
    exp,
    fma,
    reduce_blocks,
    rms_norm,
    rope,
    round_kv,
    sigmoid,
    softmax,
    sum_lanes,
    tanh,
)
from wazn.models.streams import HyperConfig


def _lanes(x: Floats) -> Floats:
    """(…, columns) as (…, blocks, 16), the last block filled with zeroes."""
    columns = x.shape[-1]
    padded = np.zeros((*x.shape[:-1], -(-columns // 16) * 16), np.float32)
    padded[..., :columns] = x
    lanes: Floats = padded.reshape(*x.shape[:-1], -1, 16)
    return lanes


def _sum_squares(x: Floats) -> Floats:
    total = np.zeros((*x.shape[:-1], 16), np.float32)
    for block in np.moveaxis(_lanes(x), -2, 0):
        total = fma(block, block, total)
    return sum_lanes(total)


def sigmoid_gate(gate: Floats, x: Floats) -> Floats:
    """sigmoid(gate) * x."""
    return x / (np.float32(1) + exp(np.float32(0) - gate))


def softplus(x: Floats) -> Floats:
    """ln(1 + e^x): max(x, 0) plus the series of 2 artanh(u / (2 + u)), u = e^-|x|."""
    u = exp(np.float32(0) - np.abs(x))
    s: Floats = u / (np.float32(2) + u)
    series: Floats = np.full_like(x, np.float32(1) / np.float32(17))
    for divisor in range(15, 0, -2):
        series = fma(series, s * s, np.float32(1) / np.float32(divisor))
    positive: Floats = np.maximum(x, np.float32(0)) + np.float32(2) * s * series
    return positive


def sqrt_softplus(x: Floats) -> Floats:
    """The square root of ln(1 + e^x)."""
    root: Floats = np.sqrt(softplus(x))
    return root


def scaled(x: Floats, factor: float, cap: float) -> Floats:
    """factor * x, or cap * tanh(factor * x / cap)."""
    made: Floats = x * np.float32(factor)
    return np.float32(cap) * tanh(made / np.float32(cap)) if cap else made


@dataclass(frozen=True, slots=True)
class Grouping:
    """What a choice of experts goes by besides the scores (see ExpertConfig)."""

    bias: Floats | None = None
    groups: int = 1
    top_groups: int = 1
    sums_two: bool = False
    scale: float = 1.0
    least_sum: float = 0.0


def choose_grouped(
    scores: Floats, top_k: int, grouping: Grouping, *, normalize: bool
) -> tuple[Integers, Floats]:
    """Experts (rows, top_k) in ascending order and their weights; of equal ones the lowest."""
    ranks = scores if grouping.bias is None else scores + grouping.bias
    if grouping.groups > 1:
        parts = ranks.reshape(len(ranks), grouping.groups, -1)
        best = np.sort(parts, axis=2)[:, :, ::-1]
        worth = best[:, :, 0] + best[:, :, 1] if grouping.sums_two else best[:, :, 0]
        order = np.argsort(-worth, axis=1, kind="stable")
        left_out = np.ones(worth.shape, bool)
        np.put_along_axis(left_out, order[:, : grouping.top_groups], False, axis=1)
        ranks = np.where(left_out[:, :, None], -np.inf, parts).reshape(ranks.shape)
    ids = np.sort(np.argsort(-ranks, axis=1, kind="stable")[:, :top_k], axis=1)
    weights: Floats = np.take_along_axis(scores, ids, axis=1)
    if normalize:
        total: Floats = np.zeros(len(scores), np.float32)
        for place in range(top_k):
            total = total + weights[:, place]
        total = np.maximum(total, np.float32(grouping.least_sum))
        weights = weights / (total + np.float32(1e-20))[:, None]
    return ids, weights * np.float32(grouping.scale)


WeighedNetwork = Callable[[Floats, Floats], Floats]
"""One expert: (rows, hidden) and weights (rows, 1) of its gate and up → (rows, hidden)."""


def experts_on_input(
    x: Floats, choice: tuple[Integers, Floats], networks: Sequence[WeighedNetwork], start: Floats
) -> Floats:
    """``start`` plus what each row's experts make of x times their weight, ascending."""
    (ids, weights), out = choice, start.copy()
    for expert, network in enumerate(networks):
        rows, places = np.nonzero(ids == expert)
        if len(rows):
            out[rows] = out[rows] + network(x[rows], weights[rows, places, None])
    return out


def round_rows(rows: Floats, format: str) -> Floats:
    """What a store keeps of rows (positions, width), as it is read back."""
    kept, scales = round_kv(rows, format)
    values: Floats = kept * scales[:, None]
    return values


def attend_rows(
    query: Floats, rows: Floats, latent: int, scale: float, sinks: Floats | None = None
) -> Floats:
    """Queries (heads, width) over cached rows (places, width): the first ``latent`` are values."""
    ones = np.ones(len(rows), np.float32)
    keys = Cached(rows, rows[:, :latent], ones, ones)
    merged = reduce_blocks(query, keys, Shaping(scale))
    if sinks is not None:
        nothing = np.zeros_like(merged.values)
        merged = merged.merge(Attended(sinks, np.ones_like(sinks), nothing))
    return merged.values / merged.total[:, None]


def index_scores(query: Floats, weights: Floats, rows: Floats, scale: float) -> Floats:
    """Scores (places,) of cached rows for queries (heads, dim) and weights (heads,)."""
    products = np.zeros((len(query), len(rows)), np.float32)
    for d in range(query.shape[1]):
        products = fma(query[:, d, None], rows[None, :, d], products)
    total = np.zeros(len(rows), np.float32)
    for head in range(len(query)):
        total = fma(weights[head, None], np.maximum(products[head] * np.float32(scale), 0), total)
    return total


def select(scores: Floats, top_k: int) -> Integers:
    """Places of the ``top_k`` best scores in ascending order; of equal ones the lowest."""
    return np.sort(np.argsort(-scores, kind="stable")[:top_k])


def layer_norm(x: Floats, weight: Floats, bias: Floats, eps: float) -> Floats:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis."""
    columns = np.float32(x.shape[-1])
    total = np.zeros((*x.shape[:-1], 16), np.float32)
    for block in np.moveaxis(_lanes(x), -2, 0):
        total = total + block
    away = x - (sum_lanes(total) / columns)[..., None]
    scale = np.float32(1) / np.sqrt(_sum_squares(away) / columns + np.float32(eps))
    return fma(away * scale[..., None], weight, np.broadcast_to(bias, x.shape))


def unit_length(x: Floats, eps: float, factor: float) -> Floats:
    """x * factor / sqrt(sum of squares + eps) over the last axis."""
    scale = np.float32(factor) / np.sqrt(_sum_squares(x) + np.float32(eps))
    long: Floats = x * scale[..., None]
    return long


def causal_conv(x: Floats, weight: Floats) -> Floats:
    """silu of each column's weighted last values; x (rows, columns), weight (size, columns)."""
    size = len(weight)
    padded = np.concatenate([np.zeros((size - 1, x.shape[1]), np.float32), x])
    total = np.zeros_like(x)
    for place in range(size):
        total = fma(weight[place], padded[place : place + len(x)], total)
    return total / (np.float32(1) + exp(np.float32(0) - total))


def delta_gates(a: Floats, b: Floats, rate: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Decay e^(rate * softplus(a + bias)) and strength sigmoid(b), each (rows, heads)."""
    return exp(rate * softplus(a + bias)), sigmoid(b)


def delta_rule(query: Floats, key: Floats, value: Floats, decay: Floats, beta: Floats) -> Floats:
    """One head over all rows: (rows, key size) and (rows, value size) → (rows, value size)."""
    state = np.zeros((key.shape[1], value.shape[1]), np.float32)
    out = np.empty_like(value)
    for row in range(len(key)):
        state = state * decay[row]
        known, read = np.zeros((2, value.shape[1]), np.float32)
        for k in range(key.shape[1]):
            known = fma(key[row, k, None], state[k], known)
        change = beta[row] * (value[row] - known)
        for k in range(key.shape[1]):
            state[k] = fma(key[row, k, None], change, state[k])
            read = fma(query[row, k, None], state[k], read)
        out[row] = read
    return out


def pool(values: Floats, gates: Floats) -> Floats:
    """Slots (slots, columns) weighted by the softmax of gates over slots, column by column."""
    weights = exp(gates - gates.max(axis=0))
    total, weighted = np.zeros((2, values.shape[1]), np.float32)
    for slot in range(len(values)):
        total = total + weights[slot]
        weighted = fma(weights[slot], values[slot], weighted)
    return weighted / total


@dataclass(frozen=True, slots=True)
class Compression:
    """How rows are pooled: every ``rate`` of them; biases (rate, columns), weight of the norm."""

    rate: int
    overlaps: bool
    biases: Floats
    weight: Floats
    eps: float
    angles: NDArray[np.float32]  # (positions, rotated / 2, 2)


def compress(values: Floats, gates: Floats, how: Compression) -> Floats:
    """The compressed rows of a sequence's values and gates (positions, columns)."""
    latent = values.shape[1] // (2 if how.overlaps else 1)
    rotated = 2 * how.angles.shape[1]
    entries = []
    for start in range(0, len(values) - how.rate + 1, how.rate):
        own = slice(start, start + how.rate)
        column = latent if how.overlaps else 0
        slots = [(values[own, column:], gates[own, column:] + how.biases[:, column:])]
        if how.overlaps and start:
            old = slice(start - how.rate, start)
            before = values[old, :latent], gates[old, :latent] + how.biases[:, :latent]
            slots.insert(0, before)
        pooled = pool(*(np.concatenate(parts) for parts in zip(*slots, strict=True)))
        entry = rms_norm(pooled, how.weight, how.eps)
        entry[-rotated:] = rope(entry[-rotated:], how.angles[start], interleaved=True)
        entries.append(entry)
    return np.array(entries, np.float32).reshape(-1, latent)


def hyper_weights(x: Floats, scales: Floats, biases: Floats, config: HyperConfig) -> Floats:
    """Weights (rows, (2 + streams) * streams) of the streams: taken, added and mixed."""
    n, eps = config.streams, config.eps
    spread = np.repeat(scales, [n, n, n * n])
    logits = x * spread + biases
    taken = sigmoid(logits[:, :n]) + np.float32(eps)
    added = np.float32(2) * sigmoid(logits[:, n : 2 * n])
    shares = softmax(logits[:, 2 * n :].reshape(-1, n)).reshape(-1, n, n)
    mix = _divided(shares + np.float32(eps), 1, eps)
    for _ in range(config.iterations - 1):
        mix = _divided(_divided(mix, 2, eps), 1, eps)
    return np.concatenate([taken, added, mix.reshape(len(x), -1)], axis=1)


def _divided(mix: Floats, axis: int, eps: float) -> Floats:
    total: Floats = np.zeros((len(mix), mix.shape[2]), np.float32)
    for part in np.moveaxis(mix, axis, 0):
        total += part
    sums: Floats = np.expand_dims(total + np.float32(eps), axis)
    return mix / sums


def collapse(streams: Floats, weights: Floats) -> Floats:
    """Sum over streams (rows, streams, columns) of weight * stream."""
    total = np.zeros_like(streams[:, 0])
    for stream in range(streams.shape[1]):
        total = fma(weights[:, stream, None], streams[:, stream], total)
    return total


def expand(streams: Floats, weights: Floats, x: Floats) -> Floats:
    """Stream t becomes added_t * x + sum over streams s of mix_st * stream s."""
    n = streams.shape[1]
    out = np.zeros_like(streams)
    for t in range(n):
        out[:, t] = fma(weights[:, n + t, None], x, out[:, t])
        for s in range(n):
            out[:, t] = fma(weights[:, 2 * n + s * n + t, None], streams[:, s], out[:, t])
    return out
