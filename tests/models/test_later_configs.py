"""What configurations of the later families say, and what they may not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from tests.golden import later_families
from tests.golden.build import stack_experts, write_safetensors
from tests.golden.tensors import draw
from tests.models.later_models import MODELS, part, write_directory
from wazn.errors import BadFile, UnsupportedModel, WaznError
from wazn.models.checkpoint import open_checkpoint
from wazn.models.config import Config, from_huggingface
from wazn.models.load import load_model
from wazn.models.rotary import frequencies

CONFIGS = {tiny.name: tiny.config for tiny in later_families.CATALOGUE}


def read(name: str, **changes: Any) -> Config:
    return from_huggingface({**CONFIGS[name], **changes}, "config.json", 311)


def test_scores_are_scaled_by_yarn_and_angles_are_not() -> None:
    published = {
        "type": "yarn",
        "factor": 40,
        "original_max_position_embeddings": 4096,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
    }
    config = read(
        "deepseek_v3",
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        rope_parameters=None,
        rope_theta=10000,
        rope_scaling=published,
    )
    assert config.latent is not None
    assert config.latent.scale == pytest.approx(0.13523378, rel=1e-7)
    assert frequencies(config)[1] == 1.0
    lite = {**published, "mscale": 0.707, "mscale_all_dim": 0.707}
    config = read("deepseek_v2", qk_nope_head_dim=128, qk_rope_head_dim=64, rope_parameters=lite)
    assert config.latent is not None
    assert config.latent.scale == pytest.approx(0.11472139, rel=1e-7)
    assert len(frequencies(config)[0]) == 32


def test_layers_of_published_v4_checkpoints_are_read_from_their_rates() -> None:
    changes = {"layer_types": None, "mlp_layer_types": None, "compress_rates": None}
    config = read("deepseek_v4", **changes, compress_ratios=[0, 4, 128, 4, 0], num_hash_layers=2)
    assert config.compressed is not None
    assert config.compressed.rates == (0, 4, 128, 4)
    assert config.compressed.sparse == (False, True, False, True)
    assert config.compressed.hashed == (True, True, False, False)
    main, compress = config.rope_tables()
    assert (main.rope_theta, main.rope_scaling.kind) == (10000.0, "none")
    assert (compress.rope_theta, compress.rope_scaling.kind) == (160000.0, "yarn")
    assert frequencies(compress)[1] == 1.0  # the angles have no temperature


@pytest.mark.parametrize(
    ("name", "changes", "error", "message"),
    [
        ("deepseek_v3", {"kv_lora_rank": 24}, BadFile, "latent vectors of size 24"),
        ("deepseek_v3", {"kv_lora_rank": None}, BadFile, "kv_lora_rank is 'None'"),
        ("deepseek_v3", {"qk_rope_head_dim": 7}, BadFile, "with 7 rotated"),
        ("deepseek_v3", {"n_group": 5}, BadFile, "of 5 groups do not fit 12 experts"),
        ("deepseek_v3", {"topk_group": 4}, BadFile, "from 4 of 3 groups"),
        ("deepseek_v3", {"n_group": 12, "topk_group": 6}, BadFile, "do not fit 12 experts"),
        ("deepseek_v3", {"topk_method": "greedy"}, UnsupportedModel, "topk_method 'greedy'"),
        ("deepseek_v2", {"topk_method": "noaux_tc"}, UnsupportedModel, "topk_method 'noaux_tc'"),
        ("deepseek_v2", {"norm_topk_prob": True}, UnsupportedModel, "without it"),
        ("deepseek_v32", {"index_topk": 0}, BadFile, "index_topk is '0'"),
        ("deepseek_v32", {"q_lora_rank": None}, BadFile, "without a compressed query"),
        ("deepseek_v32", {"index_head_dim": 4}, BadFile, "index heads of 4 with 8 rotated"),
        ("qwen3_next", {"layer_types": ["linear_attention"]}, BadFile, "for each of 4 layers"),
        ("qwen3_next", {"layer_types": ["sliding"] * 4}, BadFile, "layer_types"),
        ("qwen3_next", {"linear_num_value_heads": 5}, BadFile, "5 value heads"),
        ("qwen3_next", {"linear_value_head_dim": 20}, BadFile, "of 20"),
        ("qwen3_next", {"linear_conv_kernel_dim": 1}, BadFile, "a convolution of 1"),
        ("qwen3_next", {"linear_key_head_dim": 5000}, BadFile, "beyond 1024"),
        ("qwen3_next", {"partial_rotary_factor": 0.01}, BadFile, "partial_rotary_factor"),
        ("deepseek_v4", {"layer_types": ["moe"] * 4}, BadFile, "one kind of sliding_attention"),
        ("deepseek_v4", {"mlp_layer_types": ["moe"]}, BadFile, "mlp_layer_types"),
        ("deepseek_v4", {"mlp_layer_types": None, "num_hash_layers": 9}, BadFile, "hash_layers"),
        ("deepseek_v4", {"o_groups": 3}, BadFile, "4 heads of 32 in 3 groups"),
        ("deepseek_v4", {"hc_mult": 60}, BadFile, "60 streams"),
        ("deepseek_v4", {"partial_rotary_factor": 0.9}, BadFile, "28 rotated of heads of 32"),
        ("deepseek_v4", {"swiglu_limit": None}, BadFile, "swiglu_limit is 'None'"),
        ("deepseek_v4", {"compress_rope_theta": None}, BadFile, "rope_theta is 'None'"),
        ("ernie4_5_moe", {"moe_k": 13}, BadFile, "13 experts for each token of only 12"),
        ("ernie4_5_moe", {"moe_num_experts": [12, 12]}, BadFile, "moe_num_experts is '.12, 12.'"),
        ("ernie4_5_moe", {"moe_layer_interval": 0}, BadFile, "moe_layer_interval is '0'"),
        ("ernie4_5_moe", {"moe_layer_start_index": -2}, BadFile, "moe_layer_start_index is '-2'"),
        ("ernie4_5_moe", {"moe_layer_end_index": "all"}, BadFile, "moe_layer_end_index is 'all'"),
        ("ernie4_5_moe", {"moe_num_shared_experts": 0.5}, BadFile, "moe_num_shared_experts is"),
        ("ernie4_5_moe", {"moe_norm_min": -1.0}, BadFile, "moe_norm_min is '-1.0'"),
    ],
)
def test_a_bad_value_is_named(
    name: str, changes: dict[str, Any], error: type[WaznError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(name, **changes)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("deepseek_v3", "self_attn.kv_b_proj.weight", "kv_b_proj.weight has 3 rows where the"),
        ("deepseek_v2", "self_attn.q_b_proj.weight", "q_b_proj.weight has 3 rows where the"),
        ("deepseek_v2", "self_attn.kv_a_proj_with_mqa.weight", "kv_a_proj_with_mqa.weight has 3"),
        ("qwen3_next", "linear_attn.in_proj_ba.weight", "in_proj_ba.weight has 3 rows"),
        ("qwen3_next", "linear_attn.conv1d.weight", "has 192 elements, not 192 x 4"),
        ("qwen3_next", "linear_attn.A_log", "gates of 6 do not fit"),
        ("deepseek_v32", "self_attn.indexer.k_norm.bias", "a norm of 16 weights and 3 biases"),
        ("deepseek_v32", "self_attn.indexer.weights_proj.weight", "weights of 3"),
        ("deepseek_v3", "mlp.gate.e_score_correction_bias", "has 3 elements, not 12"),
        ("deepseek_v4", "attn.wo_a.weight", "wo_a.weight has 3 rows where"),
        ("deepseek_v4", "attn.attn_sink", "do not fit 3 heads"),
        ("deepseek_v4", "ffn.gate.tid2eid", "the table of experts has 9 entries"),
        ("deepseek_v4", "compressor.ape", "biases and a norm of"),
        ("ernie4_5_moe", "shared_experts.up_proj.weight", "a gate of 80 columns meets 3"),
        ("deepseek_v4", "hc_attn_base", "3 streams with 15 products, 3 biases and 3 scales"),
    ],
)
def test_a_tensor_of_another_shape_is_named(
    name: str, tensor: str, message: str, tmp_path: Path
) -> None:
    (tiny,) = (t for t in later_families.CATALOGUE if t.name == name)
    tensors = draw(tiny.config, tiny.seed)
    wrong = [found for found in tensors if found.endswith(tensor)]
    for found in wrong:
        tensors[found] = tensors[found][: 48 if "conv1d" in tensor else 3]
    assert wrong
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(dict(tiny.config)))
    write_safetensors(tensors, folder / "model.safetensors", GGMLQuantizationType.F32)
    with pytest.raises(BadFile, match=message):
        load_model(folder)


def test_ernie_files_need_not_state_what_the_format_defines(tmp_path: Path) -> None:
    """As transformers has it: heads of 128, theta 500000, a tied head, two shared experts."""
    stated = {"head_dim", "rope_theta", "tie_word_embeddings"}
    values = {key: x for key, x in CONFIGS["ernie4_5"].items() if key not in stated}
    shaped = {**CONFIGS["ernie4_5"], "head_dim": 128}
    folder = write_directory(shaped, 1, tmp_path / "dense")
    (folder / "config.json").write_text(json.dumps(values))
    checkpoint = open_checkpoint(folder)
    assert (checkpoint.config.head_dim, checkpoint.config.rope_theta) == (128, 500000.0)
    assert checkpoint.config.rope_interleaved
    load_model(folder)
    stated = {"rope_parameters", "moe_num_shared_experts", "moe_layer_start_index"}
    values = {key: x for key, x in CONFIGS["ernie4_5_moe"].items() if key not in stated}
    folder = write_directory(CONFIGS["ernie4_5_moe"], 1, tmp_path / "experts")
    (folder / "config.json").write_text(json.dumps(values))
    experts = open_checkpoint(folder).config.experts
    assert experts is not None and experts.shared
    assert [experts.in_layer(index) for index in range(5)] == [False, True, False, True, False]


def test_a_table_must_name_experts_there_are(tmp_path: Path) -> None:
    (tiny,) = (t for t in later_families.CATALOGUE if t.name == "deepseek_v4")
    folder = write_directory(tiny.config, tiny.seed, tmp_path / "model")
    tensors = draw(tiny.config, tiny.seed)
    tensors["layers.0.ffn.gate.tid2eid"][5, 1] = 8
    write_safetensors(tensors, folder / "model.safetensors", GGMLQuantizationType.F32)
    with pytest.raises(BadFile, match="names others than the 8 there are"):
        load_model(folder)


def test_the_text_part_of_a_model_that_sees_is_the_model(tmp_path: Path) -> None:
    """Names under ``language_model``, settings in ``text_config``, experts fused, a draft head."""
    tiny = MODELS["qwen3_5_moe"]
    plain = load_model(write_directory(tiny.config, tiny.seed, tmp_path / "plain"))
    tensors = stack_experts(draw(tiny.config, tiny.seed))
    fused = {"model.visual.patch.weight": np.ones((3, 5), np.float32)}
    fused["mtp.fc.weight"] = np.ones((3, 5), np.float32)
    for name, values in tensors.items():
        name = name.replace("model.layers.", "model.language_model.layers.")
        name = name.replace("model.embed_tokens.", "model.language_model.embed_tokens.")
        name = name.replace("model.norm.", "model.language_model.norm.")
        stem = name.removesuffix("gate_proj.weight")
        if name.endswith("experts.up_proj.weight"):
            continue
        if name.endswith("experts.gate_proj.weight"):
            up = tensors[name.replace("language_model.", "").replace("gate_proj", "up_proj")]
            fused[f"{stem}gate_up_proj"] = np.concatenate([values, up], axis=1)
        elif name.endswith("experts.down_proj.weight"):
            fused[name.removesuffix(".weight")] = values
        else:
            fused[name] = values
    folder = tmp_path / "sees"
    folder.mkdir()
    config = {"model_type": "qwen3_5_moe", "text_config": dict(tiny.config), "vision_config": {}}
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(fused, folder / "model.safetensors", GGMLQuantizationType.F32)
    sees = load_model(folder)
    ids = list(range(40))
    for model in (plain, sees):
        model.open_cache(8)
    np.testing.assert_array_equal(part(plain, ids, 0, 40), part(sees, ids, 0, 40))
    (folder / "config.json").write_text(json.dumps({**config, "text_config": [1]}))
    with pytest.raises(BadFile, match="text_config is '\\[1\\]', not an object"):
        open_checkpoint(folder)


def test_layers_of_a_draft_head_are_left_out(tmp_path: Path) -> None:
    tiny = MODELS["deepseek_v3"]
    folder = write_directory(tiny.config, tiny.seed, tmp_path / "model")
    tensors = draw(tiny.config, tiny.seed)
    extra = {n.replace("layers.2.", "layers.3."): x for n, x in tensors.items() if "layers.2." in n}
    extra["model.layers.3.eh_proj.weight"] = np.ones((4, 4), np.float32)
    write_safetensors(tensors | extra, folder / "model.safetensors", GGMLQuantizationType.F32)
    checkpoint = open_checkpoint(folder)
    checkpoint.close()
    assert not any("layers.3." in name for name in checkpoint.names)


def test_a_program_of_each_family_says_what_it_does(tmp_path: Path) -> None:
    words = {
        "deepseek_v3": ["to latents", "per head", "2 best groups + bias", "times 2.5"],
        "deepseek_v32": ["select 160 positions", "to selected latents", "layer_norm"],
        "qwen3_next": ["convolve", "unit length", "delta rule", "sigmoid(b", "8 of 32 columns"],
    }
    for name, expected in words.items():
        tiny = MODELS[name]
        model = load_model(write_directory(tiny.config, tiny.seed, tmp_path / name))
        for word in expected:
            assert word in model.describe_program(), f"{word!r} is not in the program of {name}"
