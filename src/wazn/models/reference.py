"""NumPy twins of the native kernels: the same operations in the same order, bit for bit.

Every kernel is tested against its twin here. A twin is the definition of the arithmetic, which no
instruction set, thread count or batch may change: reductions run in 16 virtual lanes, integer sums
are exact, and a fused multiply-add is one rounding. Slow, and never a stand-in for the product.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wazn.models.attention import PLAIN, AttentionKind
from wazn.weights.formats import Format, take_apart

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
PAGE = 64
CHUNK = 512


def fma(a: Floats, b: Floats | np.float32, c: Floats | np.float32) -> Floats:
    """a * b + c in float32 with one rounding.

    The product is exact in float64. The sum is rounded to odd there (Boldo and Melquiond 2008), so
    that rounding it again to float32 gives the correctly rounded result.
    """
    product = np.multiply(a, b, dtype=np.float64)
    total = product + c
    part = total - product
    error = (product - (total - part)) + (c - part)
    is_even = total.view(np.int64) & 1 == 0
    towards = np.where(error > 0, np.inf, -np.inf)
    odd = np.where((error != 0) & is_even, np.nextafter(total, towards), total)
    return odd.astype(np.float32)


def exp(x: Floats) -> Floats:
    """e^x as the kernels compute it: 0 below -87.33654, clamped at 88."""
    lowest = np.float32(-87.33654)
    clamped = np.maximum(np.minimum(x, np.float32(88.0)), lowest)
    n = np.rint(clamped * np.float32(1.44269504088896341))
    r = fma(-n, np.float32(0.693359375), clamped)
    r = fma(-n, np.float32(-2.12194440e-4), r)
    p = np.full_like(x, 1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = fma(p, r, np.float32(c))
    p = fma(p, r * r, r) + np.float32(1.0)
    return np.where(x >= lowest, p * np.ldexp(np.float32(1), n.astype(np.int32)), np.float32(0.0))


def tanh(x: Floats) -> Floats:
    """tanh as the kernels compute it: a polynomial in x² below 0.625, else by e^2x."""
    small = np.where(np.abs(x) < np.float32(0.625), x, np.float32(0))
    square = small * small
    p = np.full_like(x, -5.70498872745e-3)
    for c in (2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1):
        p = fma(p, square, np.float32(c))
    near = fma(p * square, small, small)
    power = exp(x + x)
    far = (power - np.float32(1)) / (power + np.float32(1))
    chosen: Floats = np.where(np.abs(x) < np.float32(0.625), near, far)
    return chosen


def sum_lanes(lanes: Floats) -> Floats:
    """Folds (..., 16) lanes: 8, 4, 2, 1 apart."""
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    folded: Floats = lanes[..., 0]
    return folded


def rms_norm(x: Floats, weight: Floats, eps: float) -> Floats:
    """x / sqrt(mean(x²) + eps) * weight over the last axis of (..., columns)."""
    columns = x.shape[-1]
    padded = np.zeros((*x.shape[:-1], -(-columns // 16) * 16), np.float32)
    padded[..., :columns] = x
    lanes = np.zeros((*x.shape[:-1], 16), np.float32)
    for start in range(0, padded.shape[-1], 16):
        block = padded[..., start : start + 16]
        lanes = fma(block, block, lanes)
    mean = sum_lanes(lanes) / np.float32(columns)
    scale = np.float32(1.0) / np.sqrt(mean + np.float32(eps))
    normed: Floats = x * scale[..., None] * weight
    return normed


def swiglu(gate: Floats, up: Floats) -> Floats:
    """silu(gate) * up."""
    return gate / (np.float32(1.0) + exp(np.float32(0.0) - gate)) * up


def geglu(gate: Floats, up: Floats) -> Floats:
    """gelu(gate) * up, by tanh: gelu(g) = g / (1 + e^(-2 sqrt(2 / pi) (g + 0.044715 g³)))."""
    cubic = fma(gate * gate * np.float32(0.044715), gate, gate)
    return gate / (np.float32(1) + exp(np.float32(-1.5957691216057308) * cubic)) * up


def clamped_glu(gate: Floats, up: Floats, limit: float) -> Floats:
    """g * sigmoid(1.702 g) * (u + 1) of a gate up to the limit and u within it on both sides."""
    g = np.minimum(gate, np.float32(limit))
    u = np.maximum(np.minimum(up, np.float32(limit)), np.float32(-limit))
    gated: Floats = g / (np.float32(1) + exp(np.float32(-1.702) * g)) * (u + np.float32(1))
    return gated


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + e^-x)."""
    return np.float32(1.0) / (np.float32(1.0) + exp(np.float32(0.0) - x))


def softmax(x: Floats) -> Floats:
    """e^x / sum(e^x) over the last axis of (rows, columns)."""
    columns = x.shape[-1]
    powers: Floats = np.zeros((len(x), -(-columns // 16) * 16), np.float32)
    powers[:, :columns] = exp(x - x.max(axis=-1, keepdims=True))
    lanes: Floats = np.zeros((len(x), 16), np.float32)
    for start in range(0, powers.shape[1], 16):
        lanes = lanes + powers[:, start : start + 16]
    shares: Floats = powers[:, :columns] / sum_lanes(lanes)[:, None]
    return shares


def choose(scores: Floats, top_k: int, *, normalize: bool) -> tuple[Integers, Floats]:
    """The experts with the highest scores (rows, top_k) in ascending order, and their weights.

    Of equal scores the lowest index is taken. Normalising divides by the sum in that order.
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    ids = np.sort(best, axis=1)
    weights = np.take_along_axis(scores, ids, axis=1)
    if normalize:
        total: Floats = np.zeros(len(scores), np.float32)
        for place in range(top_k):
            total = total + weights[:, place]
        weights = weights / total[:, None]
    return ids, weights


Network = Callable[[Floats], Floats]
"""One expert: (rows, hidden) → (rows, hidden)."""


def experts(
    x: Floats, choice: tuple[Integers, Floats], networks: Sequence[Network], start: Floats
) -> Floats:
    """``start`` plus what each row's experts make of x, one fused step per expert, ascending."""
    (ids, weights), out = choice, start.copy()
    for expert, network in enumerate(networks):
        rows, places = np.nonzero(ids == expert)
        if len(rows):
            out[rows] = fma(weights[rows, places, None], network(x[rows]), out[rows])
    return out


def rope(x: Floats, angles: Floats, *, interleaved: bool) -> Floats:
    """Rotates heads (..., head_dim) by angles (..., head_dim / 2, 2) of cosines and sines."""
    half = x.shape[-1] // 2
    first, second = (
        (slice(0, None, 2), slice(1, None, 2))
        if interleaved
        else (slice(0, half), slice(half, None))
    )
    a, b, c, s = x[..., first], x[..., second], angles[..., 0], angles[..., 1]
    out = np.empty_like(x)
    out[..., first] = fma(a, c, -(b * s))
    out[..., second] = fma(a, s, b * c)
    return out


SCALE_SPAN = 256
MAX_MULTIPLIER = np.float32(127)


@dataclass(frozen=True, slots=True)
class Quantised:
    """Activations: value = scale * integer, an integer being multiplier * code.

    ``integers`` (rows, columns); ``scales`` (rows, spans) float32 of 256 columns each.
    """

    integers: Integers
    scales: Floats


def quantize(x: Floats) -> Quantised:
    """8-bit codes with a multiplier for each 16 columns: the smallest that reaches their peak."""
    integers, scales = np.empty(x.shape, np.int64), []
    for start in range(0, x.shape[1], SCALE_SPAN):
        span = x[:, start : start + SCALE_SPAN]
        top = np.abs(span).max(axis=1)
        is_zero = top < np.float32(1e-30)
        with np.errstate(divide="ignore", over="ignore"):
            scale = np.where(is_zero, np.float32(0), top / (np.float32(127) * MAX_MULTIPLIER))
            steps = np.where(is_zero, np.float32(0), MAX_MULTIPLIER / top)
            groups = span.reshape(len(x), -1, 16)
            multipliers = np.ceil(np.abs(groups).max(axis=2) * steps[:, None])
            multipliers = np.clip(multipliers, np.float32(1), MAX_MULTIPLIER)
            inverse = np.float32(1) / (scale[:, None] * multipliers)
        inverse[is_zero] = 0
        codes = np.rint(groups * inverse[..., None]).astype(np.int64)
        products = codes * multipliers[..., None].astype(np.int64)
        integers[:, start : start + SCALE_SPAN] = products.reshape(span.shape)
        scales.append(scale)
    return Quantised(integers, np.stack(scales, axis=1))


LARGEST_WIDE = np.float32(16383)


def quantize_wide(x: Floats) -> Quantised:
    """Integers of 15 bits, with one scale for a span."""
    integers, scales = np.empty(x.shape, np.int64), []
    for start in range(0, x.shape[1], SCALE_SPAN):
        span = x[:, start : start + SCALE_SPAN]
        top = np.abs(span).max(axis=1)
        is_zero = top < np.float32(1e-30)
        with np.errstate(divide="ignore", over="ignore"):
            inverse = np.where(is_zero, np.float32(0), LARGEST_WIDE / top)
        integers[:, start : start + SCALE_SPAN] = np.rint(span * inverse[:, None])
        scales.append(np.where(is_zero, np.float32(0), top / LARGEST_WIDE))
    return Quantised(integers, np.stack(scales, axis=1))


def linear(raw: NDArray[np.uint8], format: Format, x: Quantised) -> Floats:
    """Quantised x (rows, columns) times quantised weights.

    Exact integer sums of 32 columns (with the sub-scales of 16, where a format has them), one float
    step for each (one more per minimum), one more per 256 columns.
    """
    parts = take_apart(raw, format)
    integers, scales = parts.codes, parts.scales
    if parts.super_scales is not None and parts.sub_scales is not None:
        integers = parts.codes * parts.sub_scales
        scales = np.repeat(parts.super_scales, parts.codes.shape[1] // 2, axis=1)
    weights = integers.reshape(len(raw), -1).astype(np.int64)
    scales = scales.reshape(len(raw), -1)
    lows = None if parts.lows is None else parts.lows.reshape(len(raw), -1)
    group = parts.codes.shape[-1]
    out = np.zeros((len(x.integers), len(raw)), np.float32)
    for span in range(x.scales.shape[1]):
        total = np.zeros_like(out)
        for column in range(span * SCALE_SPAN, min((span + 1) * SCALE_SPAN, weights.shape[1]), 32):
            at = slice(column, column + 32)
            product = (x.integers[:, at] @ weights[:, at].T).astype(np.float32)
            total = fma(scales[None, :, column // 32], product, total)
            if lows is None:
                continue
            for start in range(column, column + 32, group):
                sums = x.integers[:, start : start + group].sum(axis=1).astype(np.float32)
                total = fma(lows[None, :, start // group], sums[:, None], total)
        out = fma(total, x.scales[:, span, None], out)
    return out


def linear_float(weights: Floats, x: Floats) -> Floats:
    """x (rows, columns) times float weights (out, columns): one fused multiply-add per column."""
    out = np.zeros((len(x), len(weights)), np.float32)
    for column in range(x.shape[1]):
        out = fma(weights[None, :, column], x[:, column, None], out)
    return out


def round_kv(heads: Floats, format: str) -> tuple[Floats, Floats]:
    """What the cache keeps of keys or values (positions, dim), and the scales (positions,)."""
    ones = np.ones(len(heads), np.float32)
    if format == "float32":
        return heads, ones
    if format == "float16":
        return np.clip(heads, -65504, 65504).astype(np.float16).astype(np.float32), ones
    top = np.abs(heads).max(axis=1)
    is_zero = top < np.float32(1e-30)
    with np.errstate(divide="ignore"):
        inverse = np.where(is_zero, np.float32(0), np.float32(127) / top)
    scales = np.where(is_zero, np.float32(0), top / np.float32(127))
    return np.rint(heads * inverse[:, None]), scales


@dataclass(frozen=True, slots=True)
class Cached:
    """Keys and values of one head (positions, dim), as kept, and their scales (positions,)."""

    keys: Floats
    values: Floats
    key_scales: Floats
    value_scales: Floats

    @staticmethod
    def of(keys: Floats, values: Floats, format: str) -> Cached:
        """What a cache of that format keeps of keys and values (positions, dim)."""
        (kept_keys, key_scales), (kept_values, value_scales) = (
            round_kv(keys, format),
            round_kv(values, format),
        )
        return Cached(kept_keys, kept_values, key_scales, value_scales)

    def part(self, start: int, size: int) -> Cached:
        at = slice(start, start + size)
        return Cached(self.keys[at], self.values[at], self.key_scales[at], self.value_scales[at])


@dataclass(frozen=True, slots=True)
class Attended:
    """A softmax over some positions: maxima and sums (heads,), unnormalised values (heads, dim)."""

    top: Floats
    total: Floats
    values: Floats

    def merge(self, later: Attended) -> Attended:
        highest = np.maximum(self.top, later.top)
        old, new = exp(self.top - highest), exp(later.top - highest)
        total = fma(later.total, new, self.total * old)
        return Attended(highest, total, fma(later.values, new[:, None], self.values * old[:, None]))


def first_seen(how: AttentionKind, position: int) -> int:
    """The first position that a row at ``position`` attends to."""
    of_window = max(0, position - how.window + 1) if how.window else 0
    of_chunk = position - position % how.chunk if how.chunk else 0
    return max(of_window, of_chunk)


@dataclass(frozen=True, slots=True)
class Shaping:
    """What is made of products of a query and keys: times ``scale``, capped, times ``factor``."""

    scale: float
    softcap: float | None = None
    factor: float = 1.0


def attend(
    query: Floats, cached: Cached, scale: float, how: AttentionKind = PLAIN, factor: float = 1.0
) -> Floats:
    """One query row (heads, dim), the last of the positions of its KV head.

    Blocks of 64 positions are reduced from scratch and merged left to right within chunks of 512,
    and these left to right, beginning with the first block that has something to see; sinks last.
    """
    merged = reduce_blocks(query, cached, Shaping(scale, how.softcap, factor), how)
    if how.sinks is not None:
        sinks = np.asarray(how.sinks, np.float32)
        merged = merged.merge(Attended(sinks, np.ones_like(sinks), np.zeros_like(merged.values)))
    return merged.values / merged.total[:, None]


def reduce_blocks(
    query: Floats, cached: Cached, shaping: Shaping, how: AttentionKind = PLAIN
) -> Attended:
    """The softmax of one query row (heads, dim) over what it sees, before the division."""
    positions = len(cached.keys)
    first = first_seen(how, positions - 1)
    chunks = []
    for start in range(first - first % CHUNK, positions, CHUNK):
        blocks = [
            _attend_block(query, cached.part(block, PAGE), shaping, first - block)
            for block in range(start, min(start + CHUNK, positions), PAGE)
            if block + PAGE > first
        ]
        chunks.append(functools.reduce(Attended.merge, blocks))
    return functools.reduce(Attended.merge, chunks)


def _attend_block(query: Floats, cached: Cached, shaping: Shaping, first: int) -> Attended:
    """Over the positions of a block from ``first`` on."""
    heads, count = len(query), len(cached.keys)
    scores = np.zeros((heads, count), np.float32)
    for d in range(query.shape[1]):
        scores = fma(query[:, d, None], cached.keys[None, :, d], scores)
    scores = scores * np.float32(shaping.scale) * cached.key_scales
    if shaping.softcap:
        cap = np.float32(shaping.softcap)
        scores = cap * tanh(scores / cap)
    scores = scores * np.float32(shaping.factor)
    scores[:, : max(0, first)] = -np.inf
    top = scores.max(axis=-1)
    probabilities = np.zeros((heads, PAGE), np.float32)
    probabilities[:, :count] = exp(scores - top[:, None])
    lanes = np.zeros((heads, 16), np.float32)
    for start in range(0, PAGE, 16):
        lanes = lanes + probabilities[:, start : start + 16]
    weights = probabilities[:, :count] * cached.value_scales
    out = np.zeros((heads, cached.values.shape[1]), np.float32)
    for position in range(count):
        out = fma(weights[:, position, None], cached.values[None, position], out)
    return Attended(top, sum_lanes(lanes), out)
