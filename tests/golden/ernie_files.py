"""Tiny models of ERNIE 4.5: their configurations, their tensors, and the metadata of GGUF files."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from gguf import GGUFWriter

from tests.golden.catalogue import COMMON, Tiny
from tests.golden.parts import Shapes, attention, network

Config: TypeAlias = Mapping[str, Any]
ARCHITECTURES = {"ernie4_5": "ernie4_5", "ernie4_5_moe": "ernie4_5-moe"}

_ERNIE: dict[str, Any] = {
    **COMMON,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "use_bias": False,
    "bos_token_id": 305,
    "eos_token_id": 307,
}

# Heads of another size than hidden / heads, and a stated theta that is not the usual one.
ERNIE = Tiny(
    name="ernie4_5",
    vocabulary="qwen2",
    config={
        **_ERNIE,
        "architectures": ["Ernie4_5ForCausalLM"],
        "model_type": "ernie4_5",
        "num_hidden_layers": 3,
        "head_dim": 32,
        "tie_word_embeddings": True,
        "rope_theta": 500000.0,
    },
    ablations={"rope theta": {"rope_theta": 10000.0}},
    seed=2,
)

# Of five layers the first and the third have no experts.
ERNIE_MOE = Tiny(
    name="ernie4_5_moe",
    vocabulary="qwen2",
    config={
        **_ERNIE,
        "architectures": ["Ernie4_5_MoeForCausalLM"],
        "model_type": "ernie4_5_moe",
        "num_hidden_layers": 5,
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        "moe_intermediate_size": 40,
        "moe_num_experts": 12,
        "moe_k": 3,
        "moe_num_shared_experts": 2,
        "moe_layer_start_index": 1,
        "moe_layer_end_index": -1,
        "moe_layer_interval": 2,
        "moe_norm_min": 1e-12,
    },
    ablations={
        "bias of the choice": "e_score_correction_bias",
        "the third expert": {"moe_k": 2},
        "weights that sum to one": {"moe_norm_min": 10.0},
        "the shared network": "shared_experts.down_proj.weight",
    },
    seed=2,
)

# As the largest model: none shared, all layers from the second on have experts.
ERNIE_MOE_UNSHARED = Tiny(
    name="ernie4_5_moe_unshared",
    vocabulary="qwen2",
    config={
        **ERNIE_MOE.config,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "head_dim": 32,
        "tie_word_embeddings": True,
        "moe_num_shared_experts": 0,
        "moe_layer_end_index": 3,
        "moe_layer_interval": 1,
    },
    ablations={"the third expert": {"moe_k": 2}},
    seed=4,
)

CATALOGUE = (ERNIE, ERNIE_MOE, ERNIE_MOE_UNSHARED)


def layer_shapes(config: Any, index: int) -> Shapes:
    """The tensors of one layer, without the norms before its parts."""
    hidden = config["hidden_size"]
    shapes = attention(config)
    if config["model_type"] == "ernie4_5" or not _has_experts(config, index):
        return shapes | network("mlp.", hidden, config["intermediate_size"])
    count, width = config["moe_num_experts"], config["moe_intermediate_size"]
    shapes["mlp.gate.weight"] = (count, hidden)
    shapes["mlp.moe_statics.e_score_correction_bias"] = (1, count)
    for expert in range(count):
        shapes |= network(f"mlp.experts.{expert}.", hidden, width)
    if shared := config["moe_num_shared_experts"]:
        shapes |= network("mlp.shared_experts.", hidden, shared * width)
    return shapes


def _has_experts(config: Any, index: int) -> bool:
    last: int = config["moe_layer_end_index"] % config["num_hidden_layers"]
    first: int = config["moe_layer_start_index"]
    step: int = config["moe_layer_interval"]
    return first <= index <= last and (index + 1) % step == 0


def add_metadata(writer: GGUFWriter, config: Config) -> None:
    """What the file says besides what every file does."""
    writer.add_head_count_kv(config["num_key_value_heads"])
    if "head_dim" in config:
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    if "moe_k" in config:
        writer.add_expert_count(config["moe_num_experts"])
        writer.add_expert_used_count(config["moe_k"])
        writer.add_interleave_moe_layer_step(config["moe_layer_interval"])
        writer.add_leading_dense_block_count(config["moe_layer_start_index"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
        writer.add_expert_shared_count(config["moe_num_shared_experts"])
