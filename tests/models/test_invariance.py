"""Logits depend on a sequence's tokens only: not on the batch, the slices or the threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.models.random_models import VOCAB, random_model
from wazn.models.model import PAGE, Batch, Model
from wazn.weights.formats import Format

Floats = NDArray[np.float32]
MODELS = {
    (family, format, exact): [
        random_model(family, format, threads=threads, exact=exact) for threads in (1, 2, 3)
    ]
    for family, format, exact in (
        ("llama", Format.Q4_1, False),
        ("qwen2", Format.Q4_K, False),
        ("qwen3", Format.Q6_K, False),
        ("llama", Format.MXFP4, False),
        ("qwen2", Format.F16, False),
        ("qwen3", Format.Q5_K, True),
        ("qwen3_moe", Format.Q4_0, False),
        ("qwen3_moe", Format.BF16, False),
        ("qwen2_moe", Format.Q4_K, False),
        ("qwen2_moe", Format.Q8_0, True),
    )
}


def alone(model: Model, ids: list[int]) -> Floats:
    """Logits after every token, the whole sequence in one step."""
    pages = np.arange(-(-len(ids) // PAGE), dtype=np.int32)
    return model.forward(
        Batch(
            np.array(ids, np.int32),
            np.array([0, len(ids)], np.int32),
            np.zeros(1, np.int32),
            pages[None],
            np.arange(len(ids), dtype=np.int32),
        )
    ).copy()


def mixed(model: Model, sequences: list[list[int]], rng: np.random.Generator) -> list[Floats]:
    """The same in steps that mix slices of all sequences, on pages in any order."""
    pages = rng.permutation(len(sequences) * 3).astype(np.int32).reshape(-1, 3)
    done = np.zeros(len(sequences), np.int32)
    logits: list[list[Floats]] = [[] for _ in sequences]
    while left := [s for s, ids in enumerate(sequences) if done[s] < len(ids)]:
        running = [s for s in left if rng.random() < 0.7] or left[:1]
        stops = {s: rng.integers(done[s] + 1, len(sequences[s]) + 1) for s in running}
        slices = [
            np.array(sequences[s][done[s] : min(stops[s], done[s] + 40)], np.int32) for s in running
        ]
        starts = np.cumsum([0] + [len(ids) for ids in slices]).astype(np.int32)
        rows = np.arange(starts[-1], dtype=np.int32)
        result = model.forward(
            Batch(
                np.concatenate(slices).astype(np.int32), starts, done[running], pages[running], rows
            )
        )
        for s, part, start in zip(running, slices, starts, strict=False):
            logits[s].append(result[start : start + len(part)].copy())
            done[s] += len(part)
    return [np.concatenate(rows) for rows in logits]


@pytest.mark.parametrize("key", MODELS, ids=lambda key: f"{key[0]}-{key[1].name}-{key[2]}")
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_logits_are_the_same_to_the_last_bit_in_any_mix(
    key: tuple[str, Format, bool], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 150, rng.integers(1, 5))
    sequences = [rng.integers(0, VOCAB, length).tolist() for length in lengths]
    models = MODELS[key]
    together = mixed(models[rng.integers(3)], sequences, rng)
    for ids, logits in zip(sequences, together, strict=True):
        expected = alone(models[0], ids)
        np.testing.assert_array_equal(logits.view(np.uint32), expected.view(np.uint32))
        assert np.isfinite(expected).all()


def test_hidden_states_do_not_depend_on_the_slices() -> None:
    first, second, _ = MODELS["llama", Format.Q4_1, False]
    ids = np.arange(70, dtype=np.int32)
    pages = np.arange(2, dtype=np.int32)[None]

    def states(model: Model, start: int, stop: int) -> Floats:
        rows = np.arange(stop - start, dtype=np.int32)
        starts = np.array([0, stop - start], np.int32)
        return model.hidden(
            Batch(ids[start:stop], starts, np.array([start], np.int32), pages, rows)
        )

    whole = states(first, 0, 70)
    parts = [states(second, 0, 13), states(second, 13, 70)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
