import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wazn.bench.divergence import CHUNK_ROWS, score_window, summarize


def _logits(seed: int, rows: int, vocab_size: int = 11) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 3, (rows, vocab_size)).astype(np.float32)


def _naive_divergence(reference: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    p, q = (np.exp(x.astype(np.float64)) for x in (reference, other))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    return float((p * np.log(p / q)).sum())


@given(st.integers(0, 1000), st.integers(1, 2 * CHUNK_ROWS + 3))
def test_sums_do_not_depend_on_the_chunks_they_are_made_in(seed: int, rows: int) -> None:
    ids = np.random.default_rng(seed).integers(0, 11, rows)
    reference, other = _logits(seed, rows), _logits(seed + 1, rows)
    window = score_window(ids, reference, {"other": other})
    score = window.scores["other"]
    assert score.divergence == pytest.approx(_naive_divergence(reference, other))
    assert score.agreed == (reference.argmax(axis=1) == other.argmax(axis=1)).sum()
    p = np.exp(other.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    assert score.loss == pytest.approx(-np.log(p[np.arange(rows - 1), ids[1:]]).sum())


@given(st.integers(0, 1000), st.floats(-50, 50))
def test_logits_that_differ_by_a_constant_do_not_diverge(seed: int, shift: float) -> None:
    reference = _logits(seed, 9)
    window = score_window(np.zeros(9, np.int64), reference, {"x": reference + np.float32(shift)})
    assert window.scores["x"].divergence == pytest.approx(0, abs=1e-4)
    assert window.scores["x"].agreed == 9


def test_a_uniform_reference_has_the_entropy_of_its_vocabulary() -> None:
    flat = np.zeros((4, 32), np.float32)
    window = score_window(np.zeros(4, np.int64), flat, {})
    assert window.entropy == pytest.approx(4 * math.log(32))
    assert window.loss == pytest.approx(3 * math.log(32))


def test_extreme_logits_stay_finite() -> None:
    wild = np.array([[3e38, -3e38, 0.0]], np.float32)
    window = score_window(np.zeros(1, np.int64), wild, {"same": wild})
    assert window.scores["same"].divergence == 0


def test_a_summary_weighs_windows_by_their_tokens() -> None:
    long, short = _logits(1, 60), _logits(2, 4)
    windows = [
        score_window(np.zeros(60, np.int64), long, {"x": long}),
        score_window(np.zeros(4, np.int64), short, {"x": _logits(3, 4)}),
    ]
    summary = summarize(windows, "x")
    assert summary.divergence == pytest.approx(windows[1].scores["x"].divergence / 64)
    assert summary.agreement == pytest.approx((60 + windows[1].scores["x"].agreed) / 64)
    losses = sum(window.scores["x"].loss for window in windows)
    assert summary.perplexity == pytest.approx(math.exp(losses / 62))


def test_the_interval_holds_the_mean_and_is_the_same_every_time() -> None:
    windows = [
        score_window(np.zeros(8, np.int64), _logits(i, 8), {"x": _logits(i + 100, 8)})
        for i in range(12)
    ]
    summary = summarize(windows, "x")
    low, high = summary.interval
    assert low < summary.divergence < high
    assert summarize(windows, "x").interval == (low, high)


def test_windows_that_agree_exactly_leave_no_doubt() -> None:
    same = _logits(5, 8)
    windows = [score_window(np.zeros(8, np.int64), same, {"x": _logits(6, 8)})] * 5
    low, high = summarize(windows, "x").interval
    assert low == pytest.approx(high)
