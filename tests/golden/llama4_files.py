"""Tiny models of Llama 4: their configurations, their tensors, and the metadata of GGUF files."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray

from tests.golden.catalogue import COMMON, Tiny
from tests.golden.parts import Shapes, attention, network

Config: TypeAlias = Mapping[str, Any]
GGUF_CHUNK = 8192  # which files do not state

# Chunks and steps of the temperature far shorter than the stored sequence; layers 1 and 3 of five
# have experts, layer 3 sees everything and does not rotate.
LLAMA4 = Tiny(
    name="llama4",
    vocabulary="llama3",
    config={
        **COMMON,
        "architectures": ["Llama4ForCausalLM"],
        "model_type": "llama4_text",
        "hidden_size": 64,
        "intermediate_size": 40,
        "intermediate_size_mlp": 96,
        "num_hidden_layers": 5,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "num_local_experts": 6,
        "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 2,
        "attention_chunk_size": 24,
        "attn_temperature_tuning": True,
        "floor_scale": 16,
        "attn_scale": 0.4,
        "use_qk_norm": True,
        "no_rope_layers": [],
        "rms_norm_eps": 1e-5,
        "attention_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": 305,
        "eos_token_id": [306, 309],
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 16.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 2.0,
            "original_max_position_embeddings": 64,
        },
    },
    ablations={
        "chunks": {"attention_chunk_size": 512},
        "temperature": {"attn_temperature_tuning": False},
        "norms of queries and keys": {"use_qk_norm": False},
        "which layers rotate": {"no_rope_layers": [0, 0, 0, 1, 0]},
        "experts in every second layer": "feed_forward.experts.down_proj",
    },
    seed=16,
)

# What GGUF takes for granted: chunks of 8192 and a temperature to match. All layers have experts.
LLAMA4_LONG = Tiny(
    name="llama4_long",
    vocabulary="llama3",
    config={
        **LLAMA4.config,
        "num_hidden_layers": 4,
        "num_local_experts": 5,
        "num_attention_heads": 4,
        "interleave_moe_layer_step": 1,
        "attention_chunk_size": GGUF_CHUNK,
        "floor_scale": GGUF_CHUNK,
        "attn_scale": 0.1,
    },
    ablations={"shared network": "shared_expert.down_proj.weight"},
    seed=18,
)

CATALOGUE = (LLAMA4, LLAMA4_LONG)


def layer_shapes(config: Any, index: int) -> Shapes:
    """The tensors of one layer, without the norms before its parts; stacks with rows as inputs."""
    hidden, width = config["hidden_size"], config["intermediate_size"]
    shapes = attention(config)
    if (index + 1) % config["interleave_moe_layer_step"]:
        return shapes | network("feed_forward.", hidden, config["intermediate_size_mlp"])
    count = config["num_local_experts"]
    shapes["feed_forward.router.weight"] = (count, hidden)
    shapes["feed_forward.experts.gate_up_proj"] = (count, hidden, 2 * width)
    shapes["feed_forward.experts.down_proj"] = (count, width, hidden)
    return shapes | network("feed_forward.shared_expert.", hidden, width)


def add_metadata(writer: GGUFWriter, config: Config) -> None:
    """What the file says besides what every file does."""
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_expert_count(config["num_local_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_feed_forward_length(config["intermediate_size"])
    writer.add_interleave_moe_layer_step(config["interleave_moe_layer_step"])


def rewritten(rest: str, values: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """The tensors that one of a layer becomes, under Hugging Face names without the layer."""
    rest = rest.replace("feed_forward.", "mlp.").replace("mlp.router.", "mlp.gate.")
    if rest == "mlp.experts.down_proj":
        return {f"{rest}.weight": values.swapaxes(1, 2)}
    if rest == "mlp.experts.gate_up_proj":
        gate, up = np.split(values.swapaxes(1, 2), 2, axis=1)
        return {"mlp.experts.gate_proj.weight": gate, "mlp.experts.up_proj.weight": up}
    return {rest: values}
