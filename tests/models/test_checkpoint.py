"""Configurations and directories that do not fit are refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.weights.build import (
    FLOAT32,
    GGUFFile,
    GGUFTensor,
    entry,
    text,
    uint32,
    valid_safetensors,
)
from wazn.errors import BadFile, ModelNotFound, UnsupportedModel
from wazn.models.checkpoint import open_checkpoint
from wazn.models.config import Config, RopeScaling, from_gguf, from_huggingface
from wazn.models.names import huggingface_name, used_tensors

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
}


def read(**changes: Any) -> Config:
    return from_huggingface({**CONFIG, **changes}, "config.json", 100)


def test_a_configuration_is_read_in_both_rope_styles() -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    old = read(rope_scaling=scaling)
    new = read(rope_theta=None, rope_parameters={**scaling, "rope_theta": 500000.0})
    assert old == new
    assert old.rope_scaling == RopeScaling("llama3", 8.0, 1.0, 4.0, 64)
    assert (old.head_dim, old.vocab_size, old.rope_theta) == (16, 100, 500000.0)
    assert read(head_dim=32).head_dim == 32
    assert read(rope_scaling={"type": "linear", "factor": 2}).rope_scaling.kind == "linear"
    assert read(rope_scaling={"type": "yarn", "factor": 4.0}).rope_scaling.kind == "yarn"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"hidden_size": 0}, BadFile, "hidden_size is '0'"),
        ({"hidden_size": "64"}, BadFile, "hidden_size is '64'"),
        ({"hidden_size": True}, BadFile, "hidden_size"),
        ({"num_hidden_layers": 2**63}, BadFile, "num_hidden_layers"),
        ({"num_attention_heads": -4}, BadFile, "num_attention_heads"),
        ({"num_key_value_heads": 3}, BadFile, "4 attention heads cannot share 3"),
        ({"rms_norm_eps": None}, BadFile, "rms_norm_eps"),
        ({"rms_norm_eps": float("nan")}, BadFile, "rms_norm_eps"),
        ({"rope_theta": "big"}, BadFile, "rope_theta"),
        ({"rope_scaling": [1]}, BadFile, "rope_scaling"),
        ({"rope_scaling": {"type": "linear"}}, BadFile, "factor"),
        ({"rope_scaling": {"type": "longrope", "factor": 2}}, UnsupportedModel, "longrope"),
        ({"head_dim": 20}, UnsupportedModel, "heads of size 20"),
        ({"hidden_act": "gelu"}, UnsupportedModel, "gelu"),
        ({"use_sliding_window": True, "sliding_window": 64}, UnsupportedModel, "sliding"),
    ],
)
def test_a_bad_value_is_named(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(**changes)


GGUF_METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.context_length": 512,
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 96,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
}


def read_gguf(factors: tuple[float, ...] = (), **changes: Any) -> Config:
    changed = {f"llama.{key.replace('__', '.')}": value for key, value in changes.items()}
    return from_gguf({**GGUF_METADATA, **changed}, "file", 100, True, factors)


def test_gguf_metadata_are_read() -> None:
    assert read_gguf().rope_scaling == RopeScaling()
    assert read_gguf((1.0, 2.0)).rope_scaling == RopeScaling("factors", factors=(1.0, 2.0))
    assert read_gguf(rope__scale_linear=2.0).rope_scaling == RopeScaling("linear", 2.0)
    yarn = read_gguf(
        rope__scaling__type="yarn",
        rope__scaling__factor=4.0,
        rope__scaling__original_context_length=128,
    )
    assert yarn.rope_scaling == RopeScaling("yarn", 4.0, original_context_length=128)
    assert yarn.rope_interleaved
    betas = read_gguf(
        rope__scaling__type="yarn",
        rope__scaling__factor=4.0,
        rope__scaling__yarn_beta_fast=16.0,
        rope__scaling__yarn_beta_slow=2.0,
    ).rope_scaling
    assert (betas.beta_fast, betas.beta_slow) == (16.0, 2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_count": [1, 2]}, "block_count"),
        ({"rope__dimension_count": 8}, "rope.dimension_count is 8"),
        ({"attention__value_length": 32}, "value_length"),
        ({"rope__scaling__type": "su", "rope__scaling__factor": 2.0}, "'su'"),
    ],
)
def test_gguf_metadata_that_do_not_fit_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((BadFile, UnsupportedModel), match=message):
        read_gguf(**changes)


def test_gguf_names_become_hugging_face_names() -> None:
    assert huggingface_name("blk.12.attn_q.bias") == "model.layers.12.self_attn.q_proj.bias"
    assert huggingface_name("token_embd.weight") == "model.embed_tokens.weight"
    assert huggingface_name("rope_freqs.weight") is None
    experts = "model.layers.1.mlp.experts.gate_proj.weight"
    assert huggingface_name("blk.1.ffn_gate_exps.weight") == experts
    bias = "model.layers.1.mlp.gate.e_score_correction_bias"
    assert huggingface_name("blk.1.exp_probs_b.bias") == bias
    assert huggingface_name("blk.1.nextn.eh_proj.weight") is None
    assert huggingface_name("blk.1.ssm_a") == "model.layers.1.linear_attn.A"
    assert used_tensors(["model.norm.weight", "model.visual.x.weight"], is_gguf=False) == {
        "model.norm.weight": "model.norm.weight"
    }


def write_gguf(path: Path, entries: list[bytes], tensors: list[GGUFTensor]) -> Path:
    path.write_bytes(GGUFFile(entries, tensors).build())
    return path


def test_an_unsupported_family_is_named(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", [text("general.architecture", "mamba")], [])
    with pytest.raises(UnsupportedModel, match="'mamba' are not supported yet; llama, qwen2"):
        open_checkpoint(path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    with pytest.raises(UnsupportedModel, match="'mamba' are not supported yet; llama, mistral"):
        open_checkpoint(tmp_path)


def test_a_file_without_an_architecture_or_embedding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="'None'"):
        open_checkpoint(write_gguf(tmp_path / "a.gguf", [], []))
    named = [text("general.architecture", "llama")]
    with pytest.raises(BadFile, match="no embedding tensor"):
        open_checkpoint(write_gguf(tmp_path / "b.gguf", named, []))


def test_rope_factors_must_be_positive(tmp_path: Path) -> None:
    entries = [
        text("general.architecture", "llama"),
        *(uint32(f"llama.{name}", 16) for name in ("block_count", "context_length")),
        *(uint32(f"llama.{name}", 64) for name in ("embedding_length", "feed_forward_length")),
        uint32("llama.attention.head_count", 4),
        entry("llama.attention.layer_norm_rms_epsilon", FLOAT32, b"\0\0\x80\x3f"),
    ]
    tensors = [
        GGUFTensor("token_embd.weight", [64, 2], 0, bytes(512)),
        GGUFTensor("rope_freqs.weight", [8], 0, bytes(32)),
    ]
    with pytest.raises(BadFile, match="rope_freqs"):
        open_checkpoint(write_gguf(tmp_path / "m.gguf", entries, tensors))


def test_a_path_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        open_checkpoint(tmp_path / "missing.gguf")
    with pytest.raises(BadFile, match=r"no config\.json"):
        open_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(BadFile, match="holds a list"):
        open_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(BadFile, match="JSON"):
        open_checkpoint(tmp_path)


def test_an_unknown_way_of_quantising_is_refused_with_a_way_out(tmp_path: Path) -> None:
    values = {**CONFIG, "quantization_config": {"quant_method": "bitsandbytes"}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "model.safetensors").write_bytes(valid_safetensors())
    with pytest.raises(UnsupportedModel, match="GGUF"):
        open_checkpoint(tmp_path)
