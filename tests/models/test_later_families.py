"""Attention of other kinds than the plain one as whole models: their bits, and how close."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.divergence import mean_divergence, tokens
from tests.models.later_models import MODELS, load_q4, part, together, write_directory
from wazn.models.load import load_model
from wazn.models.model import Model

DIVERGENCE = 0.02  # nat, mean over positions


@pytest.fixture(scope="module", params=MODELS)
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    """A family in 4 bits: exact, and fast with one and with three threads."""
    tiny, folder = MODELS[request.param], tmp_path_factory.mktemp("later")
    loaded = [load_q4(tiny, folder, precision="exact", threads=1)]
    loaded += [load_q4(tiny, folder, threads=threads) for threads in (1, 3)]
    for model in loaded:
        model.open_cache(64, 8)
    return loaded


def test_fast_is_close_to_exact(models: list[Model]) -> None:
    exact, fast, _ = models
    assert mean_divergence(exact, fast) < DIVERGENCE


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=2, deadline=None)
def test_logits_are_the_same_to_the_last_bit_in_any_mix(models: list[Model], seed: int) -> None:
    rng = np.random.default_rng(seed)
    sequences = [tokens(seed + s, int(rng.integers(1, 110))) for s in range(rng.integers(1, 4))]
    for model in (models[0], models[1 + rng.integers(2)]):
        reference = models[0] if model is models[0] else models[1]
        mixed = together(model, sequences, rng)
        for ids, logits in zip(sequences, mixed, strict=True):
            alone = part(reference, ids, 0, len(ids), slot=7)
            np.testing.assert_array_equal(logits.view(np.uint32), alone.view(np.uint32))
            assert np.isfinite(alone).all()


def test_one_token_at_a_time_gives_the_bits_of_one_pass(models: list[Model]) -> None:
    ids = tokens(2, 80)
    for model in models[:2]:
        whole = part(model, ids, 0, 80)
        first = part(model, ids, 0, 57, slot=1)
        steps = [part(model, ids, p, p + 1, slot=1) for p in range(57, 80)]
        np.testing.assert_array_equal(np.concatenate([first, *steps]), whole)


def test_a_selection_of_everything_is_no_selection(tmp_path: Path) -> None:
    """Up to its number of positions, DeepSeek-V3.2 is V3 to the last bit."""
    tiny = MODELS["deepseek_v32"]
    few = 24
    changes: dict[str, dict[str, object]] = {
        "selected": {"index_topk": few},
        "everything": {"index_topk": 512},
        "v3": {"model_type": "deepseek_v3"},
    }
    logits = {}
    for name, change in changes.items():
        model = load_model(write_directory({**tiny.config, **change}, tiny.seed, tmp_path / name))
        model.open_cache(8)
        logits[name] = part(model, tokens(3, 60), 0, 60)
    np.testing.assert_array_equal(logits["everything"], logits["v3"])
    np.testing.assert_array_equal(logits["selected"][:few], logits["v3"][:few])
    assert (logits["selected"][few:] != logits["v3"][few:]).any()
