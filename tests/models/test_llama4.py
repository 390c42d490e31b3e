"""Llama 4: what its files say, their names, and chunks as rows arrive in pieces."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from tests.golden.build import tiny_gguf, write_safetensors
from tests.golden.llama4_files import LLAMA4, LLAMA4_LONG
from tests.golden.tensors import draw
from tests.golden.weights import token_ids
from tests.models.later_models import check_any_arrival, part, write_directory
from wazn.errors import BadFile, UnsupportedModel, WaznError
from wazn.models.checkpoint import open_checkpoint
from wazn.models.config import Config, from_gguf, from_huggingface
from wazn.models.load import load_model
from wazn.models.temperature import Factors, Temperature
from wazn.weights.gguf import GGUF


def read(**changes: Any) -> Config:
    return from_huggingface({**LLAMA4.config, **changes}, "config.json", 311)


def test_layers_are_read_as_transformers_reads_them() -> None:
    config = read()
    assert config.llama4 is not None and config.experts is not None and config.rope_interleaved
    assert config.llama4.rotated == (True, True, True, False, True) == config.llama4.chunked
    assert [config.experts.in_layer(i) for i in range(5)] == [False, True, False, True, False]
    other = read(no_rope_layers=[0, 1, 1, 1, 0, 1], layer_types=["full_attention"] * 5).llama4
    assert other is not None
    assert other.rotated == (False, True, True, True, False) and not any(other.chunked)
    assert read(attn_temperature_tuning=False).temperature is None


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"no_rope_layers": [1, 1]}, BadFile, "no_rope_layers is '.1, 1.', not a 0 or 1 for each"),
        ({"no_rope_layers": [1, 2, 1, 1, 1]}, BadFile, "no_rope_layers"),
        ({"no_rope_layers": [[1]] * 5}, BadFile, "no_rope_layers"),
        ({"no_rope_layer_interval": 0}, BadFile, "no_rope_layer_interval is '0'"),
        ({"layer_types": ["sliding_attention"] * 5}, BadFile, "layer_types"),
        ({"layer_types": [["chunked_attention"]] * 5}, BadFile, "layer_types"),
        ({"attention_chunk_size": 0}, BadFile, "attention_chunk_size is '0'"),
        ({"attention_chunk_size": None}, BadFile, "attention_chunk_size is 'None'"),
        ({"floor_scale": -3}, BadFile, "floor_scale is '-3'"),
        ({"attn_scale": "much"}, BadFile, "attn_scale is 'much'"),
        ({"attn_temperature_tuning": 4}, BadFile, "attn_temperature_tuning is '4', not true"),
        ({"use_qk_norm": 1}, BadFile, "use_qk_norm is '1', not true or false"),
        ({"num_experts_per_tok": 7}, BadFile, "7 experts for each token of only 6"),
        ({"interleave_moe_layer_step": 0}, BadFile, "interleave_moe_layer_step is '0'"),
        ({"moe_layers": [0, 2]}, UnsupportedModel, "moe_layers is '.0, 2.'"),
        ({"hidden_act": "gelu"}, UnsupportedModel, "hidden_act 'gelu'"),
    ],
)
def test_a_bad_value_is_named(
    changes: dict[str, Any], error: type[WaznError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(**changes)


def test_gguf_files_have_chunks_of_8192_and_norms_unless_there_are_128_experts(
    tmp_path: Path,
) -> None:
    with GGUF(tiny_gguf(LLAMA4_LONG, tmp_path / "model.gguf")) as file:
        metadata = dict(file.metadata)

    def read_gguf(**changes: Any) -> Config:
        changed = {f"llama4.{key.replace('__', '.')}": value for key, value in changes.items()}
        return from_gguf({**metadata, **changed}, "model.gguf", 311, True, ())

    llama4 = read_gguf().llama4
    assert llama4 is not None
    assert (llama4.chunk, llama4.normed, llama4.rotated[3]) == (8192, True, False)
    many = read_gguf(expert_count=128).llama4
    assert many is not None and not many.normed
    with pytest.raises(UnsupportedModel, match="sliding_window is stated"):
        read_gguf(attention__sliding_window=0)


def test_temperatures_rise_in_steps_or_by_the_logarithm() -> None:
    steps = Temperature("steps", 4, 0.5).factors(12)
    assert (steps[:3] == 1).all() and steps[3] == np.float32(1 + 0.5 * np.log(2))
    assert steps[11] == np.float32(1 + 0.5 * np.log(4))
    logarithm = Temperature("logarithm", 4).factors(17)
    assert (logarithm[:5] == 1).all()
    assert logarithm[8] == np.float32(1.5) and logarithm[16] == 2


def test_a_table_of_factors_grows() -> None:
    factors = Factors(Temperature("logarithm", 4), 5000)
    assert len(factors.table) == 1024 and not factors.grow(1024)
    assert factors.grow(1025) and len(factors.table) == 2048
    assert factors.grow(4000) and len(factors.table) == 4096
    assert factors.grow(4097) and len(factors.table) == 5000


def test_chunks_give_the_same_bits_however_rows_arrive(tmp_path: Path) -> None:
    folder = write_directory(LLAMA4.config, LLAMA4.seed, tmp_path / "model")
    for precision in ("fast", "exact"):
        model = load_model(folder, precision=precision, threads=2)
        model.open_cache(64, 8)
        sequences = [token_ids(f"chunks/{length}", length, 311) for length in (5, 110, 64)]
        check_any_arrival(model, sequences)


def test_the_text_part_of_a_model_that_sees_is_the_model(tmp_path: Path) -> None:
    """Names under ``language_model``, settings in ``text_config``, and what sees left out."""
    plain = load_model(write_directory(LLAMA4.config, LLAMA4.seed, tmp_path / "plain"))
    tensors = {f"language_model.{n}": x for n, x in draw(LLAMA4.config, LLAMA4.seed).items()}
    tensors["vision_model.model.layers.0.self_attn.q_proj.weight"] = np.ones((3, 5), np.float32)
    tensors["multi_modal_projector.linear_1.weight"] = np.ones((3, 5), np.float32)
    folder = tmp_path / "sees"
    folder.mkdir()
    config = {"model_type": "llama4", "text_config": dict(LLAMA4.config), "vision_config": {}}
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(tensors, folder / "model.safetensors", GGMLQuantizationType.F32)
    checkpoint = open_checkpoint(folder)
    checkpoint.close()
    assert not any("vision" in name or "multi" in name for name in checkpoint.names)
    ids = list(range(40))
    sees = load_model(folder)
    for model in (plain, sees):
        model.open_cache(8)
    np.testing.assert_array_equal(part(plain, ids, 0, 40), part(sees, ids, 0, 40))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ("layers.1.feed_forward.experts.gate_up_proj", "have the shapes"),
        ("layers.1.feed_forward.experts.down_proj", "have the shapes"),
        ("layers.1.feed_forward.router.weight", "3 rows where the model has 6 experts"),
        ("layers.0.feed_forward.up_proj.weight", "a gate of 96 columns meets 3"),
    ],
)
def test_a_tensor_of_another_shape_is_named(tensor: str, message: str, tmp_path: Path) -> None:
    tensors = draw(LLAMA4.config, LLAMA4.seed)
    name = f"model.{tensor}"
    tensors[name] = tensors[name][:, :, :20] if ".experts." in name else tensors[name][:3]
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(dict(LLAMA4.config)))
    write_safetensors(tensors, folder / "model.safetensors", GGMLQuantizationType.F32)
    with pytest.raises(BadFile, match=message):
        load_model(folder)
