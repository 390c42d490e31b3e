"""Tiny models of Grok: their configurations, their tensors, and the metadata of GGUF files.

Grok-2 has the names of its published files, Grok-1 those of its conversions to PyTorch. Caps are
so low and temperatures begin so early that every one of them shows.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from gguf import GGUFWriter

from tests.golden.catalogue import COMMON, Tiny
from tests.golden.parts import Shapes, attention

Config: TypeAlias = Mapping[str, Any]

_GROK: dict[str, Any] = {
    **{key: value for key, value in COMMON.items() if key != "hidden_act"},
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "num_experts_per_tok": 2,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 305,
    "eos_token_id": 307,
}

GROK_2 = Tiny(
    name="grok_2",
    vocabulary="qwen2",
    config={
        **_GROK,
        "architectures": ["Grok1ForCausalLM"],
        "model_type": "git",
        "intermediate_size": 96,
        "moe_intermediate_size": 40,
        "num_local_experts": 6,
        "residual_moe": True,
        "tie_word_embeddings": False,
        "embedding_multiplier_scale": 8.0,
        "output_multiplier_scale": 0.8,
        "attn_logit_softcapping": 4.0,
        "router_logit_softcapping": 1.5,
        "final_logit_softcapping": 12.0,
        "attn_temperature_len": 16,
        "rope_theta": 208533496,
        "rope_type": "original",
        "original_max_position_embeddings": 64,
        "scaling_factor": 16.0,
        "extrapolation_factor": 1.0,
        "attn_factor": 1.0,
        "beta_fast": 8,
        "beta_slow": 1,
        "sliding_window_size": -1,
        "global_attn_every_n": 1,
    },
    ablations={
        "the cap of scores": {"attn_logit_softcapping": 1000.0},
        "the cap of routers": {"router_logit_softcapping": 1000.0},
        "the cap of logits": {"final_logit_softcapping": 1000.0},
        "the temperature": {"attn_temperature_len": -1},
        "the scale of embeddings": {"embedding_multiplier_scale": 1.0},
        "the ordinary network": {"residual_moe": False},
        "norms behind experts": "post_moe_norm.weight",
    },
    seed=25,
)

GROK_1 = Tiny(
    name="grok_1",
    vocabulary="qwen2",
    config={
        **_GROK,
        "architectures": ["Grok1ModelForCausalLM"],
        "model_type": "grok-1",
        "hidden_act": "gelu",
        "intermediate_size": 72,
        "num_experts": 8,
        "tie_word_embeddings": True,
        "embedding_multiplier_scale": 1.5,
        "output_multiplier_scale": 0.5773502691896257,
        "attn_output_multiplier": 0.25,
        "max_attn_value": 6.0,
        "rope_theta": 10000.0,
    },
    ablations={
        "the scale of scores": {"attn_output_multiplier": 0.5},
        "the cap of scores": {"max_attn_value": 1000.0},
        "norms behind attention": "post_attn_norm.weight",
    },
    seed=30,
)

CATALOGUE = (GROK_2, GROK_1)
TYPES = ("git", "grok-1")


def num_experts(config: Config) -> int:
    """How many a layer has."""
    return int(config.get("num_local_experts") or config["num_experts"])


def layer_shapes(config: Any) -> Shapes:
    """The tensors of one layer, without the norms before its parts, by the names that wazn uses."""
    hidden, count = config["hidden_size"], num_experts(config)
    width = config.get("moe_intermediate_size") or config["intermediate_size"]
    shapes = attention(config)
    shapes |= {"post_attn_norm.weight": (hidden,), "post_moe_norm.weight": (hidden,)}
    shapes["mlp.gate.weight"] = (count, hidden)
    sizes = {"gate": (width, hidden), "up": (width, hidden), "down": (hidden, width)}
    for expert in range(count):
        shapes |= {f"mlp.experts.{expert}.{name}_proj.weight": s for name, s in sizes.items()}
    if config.get("residual_moe"):
        width = config["intermediate_size"]
        sizes = {"gate": (width, hidden), "up": (width, hidden), "down": (hidden, width)}
        shapes |= {f"mlp.{name}_proj.weight": size for name, size in sizes.items()}
    return shapes


def own_name(config: Config, name: str) -> str:
    """What the files of a configuration call a tensor."""
    is_second = config["model_type"] == "git"
    mixture = "block_sparse_moe" if is_second else "moe_block"
    experts = {"gate": "w1", "up": "w3", "down": "w2"}
    if not is_second:
        experts = {"gate": "linear", "up": "linear_v", "down": "linear_1"}
        name = name.replace("self_attn.", "attn.")
    if ".experts." in name:
        for matrix, own in experts.items():
            name = name.replace(f"{matrix}_proj.", f"{own}.")
    name = name.replace("mlp.experts.", f"{mixture}.experts.").replace(
        "mlp.gate.", f"{mixture}.gate."
    )
    name = name.replace("input_layernorm.", "pre_attn_norm.")
    return name.replace("post_attention_layernorm.", "pre_moe_norm.")


def add_metadata(writer: GGUFWriter, config: Config) -> None:
    """What the file says besides what every file does."""
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_expert_count(num_experts(config))
    writer.add_expert_used_count(config["num_experts_per_tok"])
    if "moe_intermediate_size" in config:
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    cap = config.get("attn_logit_softcapping", config.get("max_attn_value"))
    writer.add_attn_logit_softcapping(cap)
    if "router_logit_softcapping" in config:
        writer.add_router_logit_softcapping(config["router_logit_softcapping"])
    if "final_logit_softcapping" in config:
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if "attn_temperature_len" in config:
        writer.add_attn_temperature_length(config["attn_temperature_len"])
    scale = config.get("attn_output_multiplier", config["head_dim"] ** -0.5)
    writer.add_attn_output_scale(scale)
    writer.add_embedding_scale(config["embedding_multiplier_scale"])
    writer.add_logit_scale(config["output_multiplier_scale"])


def canonical(name: str) -> str:
    """The name that wazn uses of a tensor of one of both files."""
    pairs = {
        "pre_attn_norm.": "input_layernorm.",
        "pre_moe_norm.": "post_attention_layernorm.",
        ".attn.": ".self_attn.",
        "block_sparse_moe.": "mlp.",
        "moe_block.": "mlp.",
        "w1.": "gate_proj.",
        "w3.": "up_proj.",
        "w2.": "down_proj.",
        "linear.": "gate_proj.",
        "linear_v.": "up_proj.",
        "linear_1.": "down_proj.",
    }
    for old, new in pairs.items():
        name = name.replace(old, new)
    return name
