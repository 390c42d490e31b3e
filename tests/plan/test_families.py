"""Shapes of every family, against parameter counts of transformers and published sizes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden import grok_files
from tests.golden.catalogue import Tiny
from tests.golden.tensors import draw
from wazn.errors import BadFile, UnsupportedModel
from wazn.plan.families import FAMILIES, family_name, read_shape
from wazn.plan.formats import in_format, published_format
from wazn.plan.known import Known, known_models
from wazn.plan.shape import Cache, Experts

TINY = json.loads((Path(__file__).parent / "tiny_shapes.json").read_text(encoding="utf-8"))
# Tables of n-grams have rows rounded up to primes, and constants of their hash beside them.
NOT_COUNTED = {"qwen4_exp_text": 331}

# Elements of cache per position, of layers that see everything: section 2.1 of the families'
# published configurations, computed by hand as layers x (keys + values) or latent sizes.
CACHE_ELEMENTS = {
    "llama-2-7b": 32 * 32 * 128 * 2,
    "llama-3.1-8b": 32 * 8 * 128 * 2,
    "qwen2.5-7b": 28 * 4 * 128 * 2,
    "qwen3-30b-a3b": 48 * 4 * 128 * 2,
    "qwen3-next-80b-a3b": 12 * 2 * 256 * 2,
    "gpt-oss-120b": 18 * 8 * 64 * 2,
    "llama-4-scout": 12 * 8 * 128 * 2,
    "deepseek-v3": 61 * (512 + 64),
    "deepseek-v3.2": 61 * (512 + 64 + 128),
    "deepseek-v4-flash": 21 * (512 + 128) // 4 + 20 * 512 // 128,
}

# Total and active parameters in thousand millions, as their publishers state them.
ADVERTISED = {
    "llama-3.1-405b": (405.9, 405.9),
    "llama-4-scout": (107.8, 17.2),
    "llama-4-maverick": (400.7, 17.2),
    "qwen3-235b-a22b": (235, 22),
    "qwen3-coder-480b-a35b": (480, 35),
    "qwen3.5-397b-a17b": (396.4, 16.3),
    "seed-oss-36b": (36.15, 36.15),
    "ernie-4.5-300b-a47b": (300, 47),
    "gpt-oss-20b": (20.9, 3.6),
    "grok-2": (269.5, 113.8),
    "deepseek-v3": (671.0, 37),
    "deepseek-v4-pro": (1573, 49),
}


@pytest.mark.parametrize("name", TINY)
def test_every_number_of_a_tiny_model_is_counted(name: str) -> None:
    shape = read_shape(TINY[name]["config"], name)
    assert shape.parameters == TINY[name]["parameters"] - NOT_COUNTED.get(name, 0)


@pytest.mark.parametrize("tiny", grok_files.CATALOGUE, ids=lambda tiny: tiny.name)
def test_every_number_of_a_tiny_grok_is_counted(tiny: Tiny) -> None:
    """Which transformers does not have: of the golden models."""
    shape = read_shape(tiny.config, tiny.name)
    assert shape.parameters == sum(values.size for values in draw(tiny.config, 1).values())


def test_every_family_has_a_tiny_model_or_shares_its_row_with_one() -> None:
    counted = {family_name(name) for name in TINY}
    assert set(FAMILIES) - counted == {"mistral", "mixtral", "grok"}


@pytest.mark.parametrize("known", known_models().values(), ids=lambda known: known.name)
def test_published_file_sizes_are_met_within_five_percent(known: Known) -> None:
    shape = read_shape(known.config, known.name)
    assert published_format(known.config) is not None
    for published in known.published:
        weights = in_format(shape, published.format).weights
        assert sum(part.num_bytes for part in weights) == pytest.approx(
            published.num_bytes, rel=0.05
        )


def test_sizes_of_three_large_models_are_published_and_cited() -> None:
    for name in ("deepseek-v3", "qwen3-30b-a3b", "gpt-oss-120b"):
        published = known_models()[name].published
        assert published
        assert all(one.source.startswith("https://") for one in published)


@pytest.mark.parametrize("name", ("qwen3-30b-a3b", "gpt-oss-120b"))
def test_a_published_checkpoint_is_met_to_the_byte(name: str) -> None:
    known = known_models()[name]
    shape = in_format(read_shape(known.config, name), str(published_format(known.config)))
    assert sum(part.num_bytes for part in shape.weights) == known.published[0].num_bytes


@pytest.mark.parametrize(("name", "elements"), CACHE_ELEMENTS.items())
def test_caches_hold_what_the_attention_keeps(name: str, elements: int) -> None:
    shape = read_shape(known_models()[name].config, name)
    full = [cache for cache in shape.caches if cache.window is None]
    assert sum(c.layers * c.numbers // c.positions for c in full) == elements


@pytest.mark.parametrize(("name", "billions"), ADVERTISED.items())
def test_parameters_are_the_advertised_ones(name: str, billions: tuple[float, float]) -> None:
    shape = read_shape(known_models()[name].config, name)
    total, active = billions
    assert shape.parameters / 1e9 == pytest.approx(total, rel=0.01)
    assert shape.active_parameters / 1e9 == pytest.approx(active, rel=0.07)


def test_a_batch_shares_experts() -> None:
    experts = Experts(count=128, per_token=8)
    assert experts.distinct(1) == pytest.approx(8)
    assert 60 < experts.distinct(10) < 64  # 128 * (1 - (15/16)^10)
    assert experts.distinct(512) == pytest.approx(128, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "windows"),
    [
        ({}, {None: 18, 128: 18}),
        ({"layer_types": None}, {None: 18, 128: 18}),
        ({"model_type": "mistral", "layer_types": None}, {128: 36}),
        ({"model_type": "qwen2", "layer_types": None, "max_window_layers": 30}, {None: 30, 128: 6}),
        ({"model_type": "qwen3", "layer_types": None, "use_sliding_window": False}, {None: 36}),
    ],
)
def test_windows_are_those_of_the_layers(
    changes: dict[str, Any], windows: dict[int | None, int]
) -> None:
    config = {**known_models()["gpt-oss-120b"].config, **changes}
    shape = read_shape(config, "config.json")
    assert {cache.window: cache.layers for cache in shape.caches} == windows


def test_windows_and_choices_bound_what_is_attended() -> None:
    window = Cache(layers=1, numbers=1, macs=1, heads=1, window=128)
    assert (window.kept(10_000), window.attended(100), window.attended(10_000)) == (
        10_000,
        100,
        128,
    )
    chosen = Cache(layers=1, numbers=1, macs=1, heads=1, positions=4, chosen=512)
    assert (chosen.kept(8192), chosen.attended(8192), chosen.attended(100)) == (2048, 512, 25)


@pytest.mark.parametrize(
    ("changes", "windows"),
    [
        ({}, {8192: 36, None: 12}),
        ({"no_rope_layers": [1] * 24 + [0] * 24}, {8192: 24, None: 24}),
        ({"no_rope_layers": [], "no_rope_layer_interval": 3}, {8192: 32, None: 16}),
    ],
)
def test_layers_that_see_chunks_are_told_by_their_rotation(
    changes: dict[str, Any], windows: dict[int | None, int]
) -> None:
    config = {**known_models()["llama-4-scout"].config, **changes}
    del config["layer_types"]
    shape = read_shape(config, "config.json")
    assert {cache.window: cache.layers for cache in shape.caches} == windows


LLAMA: dict[str, Any] = dict(known_models()["llama-3.1-8b"].config)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_size": None}, "does not state hidden_size"),
        ({"hidden_size": -1}, "hidden_size is '-1', not a whole number"),
        ({"hidden_size": 10**30}, "hidden_size is '1000"),
        ({"hidden_size": True}, "hidden_size is 'True'"),
        ({"num_hidden_layers": 5000}, "more than 4096"),
        ({"layer_types": ["full_attention"]}, "not a list with one str for each of 32 layers"),
        ({"tie_word_embeddings": "no"}, "not true or false"),
        ({"num_experts": 4, "num_experts_per_tok": 8}, "num_experts_per_tok is '8', more than 4"),
        ({"num_experts": 4, "num_experts_per_tok": 1, "mlp_only_layers": 3}, "not a list"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(BadFile, match=message):
        read_shape({**LLAMA, **changed}, "config.json")


def test_compressed_layers_without_their_rates_are_refused() -> None:
    config = dict(known_models()["deepseek-v4-flash"].config)
    del config["compress_ratios"]
    with pytest.raises(BadFile, match="neither compress_ratios nor compress_rates"):
        read_shape(config, "config.json")


def test_an_unknown_family_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UnsupportedModel, match=r"'rwkv' cannot be planned; known are llama, "):
        read_shape({"model_type": "rwkv"}, "config.json")


def test_the_text_part_of_a_model_that_also_sees_is_read() -> None:
    outer = {"model_type": "some_vl", "text_config": LLAMA}
    assert read_shape(outer, "config.json") == read_shape(LLAMA, "config.json")
    named = {"model_type": "llama4", "text_config": {**LLAMA, "model_type": "llama"}}
    assert read_shape(named, "config.json").family == "llama"
