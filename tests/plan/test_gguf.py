"""Shapes from the metadata of GGUF files of families that keep their caches in special ways."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

from wazn.errors import BadFile, UnsupportedModel
from wazn.plan.families import FAMILIES, read_shape
from wazn.plan.gguf import ARCHITECTURES, read_gguf
from wazn.plan.known import known_models

BASE = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
}

# What converters write besides, by architecture.
MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "deepseek2": (
        "deepseek-v3",
        {
            "attention.head_count_kv": 1,
            "attention.key_length": 576,
            "attention.value_length": 512,
            "attention.key_length_mla": 192,
            "attention.value_length_mla": 128,
            "attention.q_lora_rank": 1536,
            "attention.kv_lora_rank": 512,
            "rope.dimension_count": 64,
            "expert_count": 256,
            "expert_used_count": 8,
            "expert_feed_forward_length": 2048,
            "leading_dense_block_count": 3,
        },
    ),
    "gpt-oss": (
        "gpt-oss-120b",
        {
            "attention.sliding_window": 128,
            "expert_count": 128,
            "expert_used_count": 4,
            "expert_feed_forward_length": 2880,
        },
    ),
    "llama4": (
        "llama-4-scout",
        {"expert_count": 16, "expert_used_count": 1, "expert_feed_forward_length": 8192},
    ),
    "qwen35moe": (
        "qwen3.6-35b-a3b",
        {
            "feed_forward_length": 512,
            "expert_count": 256,
            "expert_used_count": 8,
            "expert_feed_forward_length": 512,
            "ssm.conv_kernel": 4,
            "ssm.state_size": 128,
            "ssm.group_count": 16,
            "ssm.time_step_rank": 32,
            "ssm.inner_size": 4096,
        },
    ),
    "qwen3": ("qwen3-8b", {"attention.head_count_kv": [8] * 36, "expert_count": 0}),
}


def _file(path: Path, architecture: str, metadata: dict[str, Any]) -> Path:
    writer = GGUFWriter(path, architecture)
    for key, value in metadata.items():
        if isinstance(value, list):
            writer.add_array(f"{architecture}.{key}", value)
        else:
            writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_tensor("token_embd.weight", np.zeros((8, 32), np.float32))
    writer.add_tensor("blk.0.ffn_up_exps.weight", np.zeros((4, 2, 32), np.float32))
    writer.add_tensor("blk.0.attn_norm.weight", np.zeros(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("architecture", MORE)
def test_a_file_keeps_what_its_configuration_keeps(tmp_path: Path, architecture: str) -> None:
    name, more = MORE[architecture]
    config = known_models()[name].config
    metadata = {key: config[fact] for key, fact in BASE.items() if fact in config} | more
    shape = read_gguf(_file(tmp_path / "model.gguf", architecture, metadata))
    expected = read_shape(config, name)
    assert shape.caches == expected.caches
    assert shape.experts == expected.experts
    assert (shape.state_bytes, shape.state_macs) == (expected.state_bytes, expected.state_macs)


def test_an_older_file_of_deepseek_states_its_heads_otherwise(tmp_path: Path) -> None:
    name, more = MORE["deepseek2"]
    older = {key: value for key, value in more.items() if not key.endswith("_mla")}
    older |= {"attention.key_length": 192, "attention.value_length": 128}
    config = known_models()[name].config
    metadata = {key: config[fact] for key, fact in BASE.items() if fact in config} | older
    shape = read_gguf(_file(tmp_path / "model.gguf", "deepseek2", metadata))
    assert shape.caches == read_shape(config, name).caches


def test_tensors_are_counted_by_what_they_are_for(tmp_path: Path) -> None:
    name, more = MORE["gpt-oss"]
    config = known_models()[name].config
    metadata = {key: config[fact] for key, fact in BASE.items() if fact in config} | more
    shape = read_gguf(_file(tmp_path / "model.gguf", "gpt-oss", metadata))
    counted = {part.role: (part.elements, part.num_bytes) for part in shape.weights}
    assert counted == {"head": (256, 1024), "expert": (256, 1024), "vector": (32, 128)}


def test_every_architecture_is_a_family_of_the_table() -> None:
    assert set(ARCHITECTURES.values()) <= set(FAMILIES)


def test_an_architecture_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="'rwkv7' cannot be planned; known are llama"):
        read_gguf(_file(tmp_path / "model.gguf", "rwkv7", {}))


def test_a_file_that_states_too_little_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="does not state num_hidden_layers"):
        read_gguf(_file(tmp_path / "model.gguf", "llama", {}))
