"""A shape from the header of a GGUF file: its own tensors, exactly, and caches from its metadata.

Reads the table of tensors, no weight. Metadata are renamed to the facts of a ``config.json`` so
that one reader serves both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from wazn.errors import UnsupportedModel
from wazn.plan.facts import MAX_LAYERS, Facts
from wazn.plan.families import build_shape
from wazn.plan.shape import Role, Shape, Weights
from wazn.weights.container import TensorInfo
from wazn.weights.gguf import GGUF

ARCHITECTURES = {
    "llama": "llama",
    "llama4": "llama4",
    "qwen2": "qwen2",
    "qwen2moe": "qwen2_moe",
    "qwen3": "qwen3",
    "qwen3moe": "qwen3_moe",
    "qwen3next": "qwen3_next",
    "qwen35": "qwen3_5",
    "qwen35moe": "qwen3_5_moe",
    "seed_oss": "seed_oss",
    "ernie4_5": "ernie4_5",
    "ernie4_5-moe": "ernie4_5_moe",
    "gpt-oss": "gpt_oss",
    "grok": "grok",
    "deepseek2": "deepseek_v3",
}

FACTS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.sliding_window": "sliding_window",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": "kv_lora_rank",
    "rope.dimension_count": "qk_rope_head_dim",
    "attention.value_length_mla": "v_head_dim",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "leading_dense_block_count": "first_k_dense_replace",
    "full_attention_interval": "full_attention_interval",
    "ssm.conv_kernel": "linear_conv_kernel_dim",
    "ssm.state_size": "linear_key_head_dim",
    "ssm.group_count": "linear_num_key_heads",
    "ssm.time_step_rank": "linear_num_value_heads",
}


EXPERT_FACTS = (
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "first_k_dense_replace",
)
LLAMA4_CHUNK = 8192


def read_gguf(path: Path) -> Shape:
    """The shape of a GGUF file; raises BadFile or UnsupportedModel."""
    with GGUF(path) as container:
        metadata, tensors = container.metadata, container.tensors
    architecture = metadata.get("general.architecture")
    family = ARCHITECTURES.get(architecture) if isinstance(architecture, str) else None
    if family is None:
        raise UnsupportedModel(
            f"{path}: the architecture {str(architecture)[:60]!r} cannot be planned; known are "
            f"{', '.join(ARCHITECTURES)}."
        )
    shape = build_shape(family, Facts(f"{path}", _facts(metadata, f"{architecture}.", tensors)))
    return replace(shape, weights=tuple(_weights(tensors.values())))


def _facts(
    metadata: Mapping[str, Any], prefix: str, tensors: Mapping[str, TensorInfo]
) -> dict[str, Any]:
    """Metadata under the names of a ``config.json``; of one number a layer, the largest."""

    def stated(key: str) -> Any:
        value = metadata.get(prefix + key)
        return max(value, default=None) if isinstance(value, list | tuple) else value

    values = {name: stated(key) for key, name in FACTS.items() if stated(key) is not None}
    if not values.get("num_experts"):
        for name in EXPERT_FACTS:
            values.pop(name, None)
    if "token_embd.weight" in tensors:
        values["vocab_size"] = tensors["token_embd.weight"].shape[0]
    rope = values.get("qk_rope_head_dim")
    key = stated("attention.key_length_mla") or stated("attention.key_length")
    if "kv_lora_rank" in values and isinstance(key, int) and isinstance(rope, int):
        values["qk_nope_head_dim"] = key - rope
        values.setdefault("v_head_dim", stated("attention.value_length"))  # of older files
    inner, heads = stated("ssm.inner_size"), values.get("linear_num_value_heads")
    if isinstance(inner, int) and isinstance(heads, int) and heads:
        values["linear_value_head_dim"] = inner // heads
    return values | _layer_kinds(prefix, values.get("num_hidden_layers"))


def _layer_kinds(prefix: str, layers: object) -> dict[str, Any]:
    """Which layers see only a window, where the architecture says it and the file does not."""
    if not isinstance(layers, int) or not 0 < layers <= MAX_LAYERS:
        return {}
    kinds: tuple[str, ...]
    if prefix == "gpt-oss.":
        kinds = ("sliding_attention", "full_attention")
    elif prefix == "llama4.":
        kinds = (*3 * ("chunked_attention",), "full_attention")
    else:
        return {}
    return {
        "layer_types": [kinds[index % len(kinds)] for index in range(layers)],
        "attention_chunk_size": LLAMA4_CHUNK,
    }


def _weights(tensors: Iterable[TensorInfo]) -> Iterable[Weights]:
    held = list(tensors)
    is_tied = all(tensor.name != "output.weight" for tensor in held)
    for tensor in held:
        count = prod(tensor.shape[:-2]) if len(tensor.shape) > 2 else 1
        rows = tensor.shape[-2] if len(tensor.shape) > 1 else 1
        bits = tensor.nbytes * 8 / prod(tensor.shape)
        yield Weights(role_of(tensor, is_tied), rows, tensor.shape[-1], count, bits)


def role_of(tensor: TensorInfo, is_tied: bool) -> Role:
    """What a tensor is for, by the names that GGUF gives."""
    name = tensor.name
    if name == "token_embd.weight":
        return "head" if is_tied else "embedding"
    if name == "output.weight":
        return "head"
    if len(tensor.shape) == 1:
        return "vector"
    if "_exps." in name:
        return "expert" if name.endswith(".weight") else "vector"
    if "ffn_gate_inp" in name:
        return "router"
    if "_shexp." in name:
        return "shared"
    return "dense" if ".ffn_" in name else "attention"
