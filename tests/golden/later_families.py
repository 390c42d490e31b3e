"""Tiny models of DeepSeek and of Qwen's linear attention: configurations, and shapes of tensors.

As ``catalogue`` and ``tensors`` are for the families with plain attention; longer than every
window, selection and convolution that they have.
"""

from typing import Any

from tests.golden.catalogue import COMMON, Tiny

Shapes = dict[str, tuple[int, ...]]

_DEEPSEEK: dict[str, Any] = {
    **COMMON,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "first_k_dense_replace": 1,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 40,
    "n_shared_experts": 2,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 24,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "bos_token_id": 305,
    "eos_token_id": 307,
}


def _yarn(mscale: float) -> dict[str, Any]:
    """DeepSeek's: the temperature is one of scores, not of angles."""
    return {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "original_max_position_embeddings": 64,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale": mscale,
        "mscale_all_dim": mscale,
    }


DEEPSEEK_V2 = Tiny(
    name="deepseek_v2",
    vocabulary="qwen2",
    config={
        **_DEEPSEEK,
        "architectures": ["DeepseekV2ForCausalLM"],
        "model_type": "deepseek_v2",
        "q_lora_rank": 32,
        "topk_method": "group_limited_greedy",
        "n_group": 4,
        "topk_group": 2,
        "routed_scaling_factor": 4.0,
        "norm_topk_prob": False,
        "scoring_func": "softmax",
        "rope_parameters": _yarn(0.707),
    },
    ablations={
        "temperature of yarn": {"rope_parameters": {**_yarn(0.707), "mscale_all_dim": 0.0}},
        "groups of experts": {"topk_method": "greedy"},
        "scale of the experts": {"routed_scaling_factor": 1.0},
        "norm of the compressed query": "q_a_layernorm.weight",
    },
    seed=7,
)

DEEPSEEK_V2_LITE = Tiny(
    name="deepseek_v2_lite",
    vocabulary="qwen2",
    config={
        **_DEEPSEEK,
        "architectures": ["DeepseekV2ForCausalLM"],
        "model_type": "deepseek_v2",
        "q_lora_rank": None,
        "topk_method": "greedy",
        "n_group": 1,
        "topk_group": 1,
        "routed_scaling_factor": 1.0,
        "norm_topk_prob": False,
        "scoring_func": "softmax",
        "rope_theta": 10000.0,
        "rope_scaling": None,
    },
    ablations={"norm of the latent vector": "kv_a_layernorm.weight"},
    seed=5,
)

DEEPSEEK_V3 = Tiny(
    name="deepseek_v3",
    vocabulary="qwen2",
    config={
        **_DEEPSEEK,
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "n_shared_experts": 1,
        "q_lora_rank": 32,
        "n_routed_experts": 12,
        "n_group": 3,
        "topk_group": 2,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "routed_scaling_factor": 2.5,
        "norm_topk_prob": True,
        "rope_interleave": True,
        "rope_parameters": _yarn(1.0),
    },
    ablations={
        "bias of the choice": "e_score_correction_bias",
        "groups of experts": {"topk_group": 3},
        "weights that sum to the scale": {"norm_topk_prob": False},
    },
    seed=6,
)

# More index heads than a few, so that no two scores are zero at once (see the model's own report).
DEEPSEEK_V32 = Tiny(
    name="deepseek_v32",
    vocabulary="qwen2",
    config={
        **DEEPSEEK_V3.config,
        "architectures": ["DeepseekV32ForCausalLM"],
        "model_type": "deepseek_v32",
        "index_n_heads": 32,
        "index_head_dim": 16,
        "index_topk": 24,
    },
    ablations={
        "the selection": {"index_topk": 512},
        "bias of the index keys": "indexer.k_norm.bias",
    },
    seed=26,
)

_QWEN_NEXT: dict[str, Any] = {
    **COMMON,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 6,
    "linear_key_head_dim": 24,
    "linear_value_head_dim": 16,
    "linear_conv_kernel_dim": 4,
    "layer_types": ["linear_attention", "linear_attention", "full_attention", "linear_attention"],
    "rms_norm_eps": 1e-6,
    "attention_bias": False,
    "tie_word_embeddings": False,
    "bos_token_id": 305,
    "eos_token_id": 307,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.25,
    },
}
_EXPERTS: dict[str, Any] = {
    "num_experts": 8,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 40,
    "shared_expert_intermediate_size": 72,
}

QWEN3_NEXT = Tiny(
    name="qwen3_next",
    vocabulary="qwen2",
    config={
        **_QWEN_NEXT,
        **_EXPERTS,
        "architectures": ["Qwen3NextForCausalLM"],
        "model_type": "qwen3_next",
        "intermediate_size": 96,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    },
    ablations={
        "bias of the decay": "dt_bias",
        "norm of what the state gives": "linear_attn.norm.weight",
        "partial rotation": {
            "rope_parameters": {**_QWEN_NEXT["rope_parameters"], "partial_rotary_factor": 1.0}
        },
    },
    seed=1,
)

QWEN3_5 = Tiny(
    name="qwen3_5",
    vocabulary="qwen2",
    config={
        **_QWEN_NEXT,
        "architectures": ["Qwen3_5ForCausalLM"],
        "model_type": "qwen3_5_text",
        "intermediate_size": 96,
        "tie_word_embeddings": True,
        "rope_parameters": {**_QWEN_NEXT["rope_parameters"], "mrope_section": [2, 1, 1]},
    },
    ablations={"bias of the decay": "dt_bias"},
    seed=5,
)

QWEN3_5_MOE = Tiny(
    name="qwen3_5_moe",
    vocabulary="qwen2",
    config={
        **_QWEN_NEXT,
        **_EXPERTS,
        "architectures": ["Qwen3_5MoeForCausalLM"],
        "model_type": "qwen3_5_moe_text",
        "linear_num_value_heads": 4,
        "linear_value_head_dim": 32,
        "rope_parameters": {**_QWEN_NEXT["rope_parameters"], "mrope_section": [2, 1, 1]},
    },
    ablations={"gate of the shared expert": "shared_expert_gate.weight"},
    seed=6,
)

CATALOGUE = (
    DEEPSEEK_V2,
    DEEPSEEK_V2_LITE,
    DEEPSEEK_V3,
    DEEPSEEK_V32,
    QWEN3_NEXT,
    QWEN3_5,
    QWEN3_5_MOE,
)


def has_shapes(config: Any) -> bool:
    """Whether the tensors of this configuration are listed here."""
    return str(config["model_type"]).startswith(("deepseek_", "qwen3_next", "qwen3_5"))


def layer_shapes(config: Any, index: int) -> Shapes:
    """The tensors of one layer, without the norms before its parts."""
    if config["model_type"].startswith("deepseek_"):
        return _latent_attention(config) | _deepseek_network(config, index)
    is_full = config["layer_types"][index] == "full_attention"
    mixing = _gated_attention(config) if is_full else _linear_attention(config)
    return mixing | _qwen_network(config)


def _latent_attention(config: Any) -> Shapes:
    hidden, heads, rank = (
        config[key] for key in ("hidden_size", "num_attention_heads", "kv_lora_rank")
    )
    plain, rotary, value = (
        config[key] for key in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    )
    queries, compressed = heads * (plain + rotary), config["q_lora_rank"]
    shapes: Shapes = {}
    if compressed is None:
        shapes["self_attn.q_proj.weight"] = (queries, hidden)
    else:
        shapes["self_attn.q_a_proj.weight"] = (compressed, hidden)
        shapes["self_attn.q_a_layernorm.weight"] = (compressed,)
        shapes["self_attn.q_b_proj.weight"] = (queries, compressed)
    shapes["self_attn.kv_a_proj_with_mqa.weight"] = (rank + rotary, hidden)
    shapes["self_attn.kv_a_layernorm.weight"] = (rank,)
    shapes["self_attn.kv_b_proj.weight"] = (heads * (plain + value), rank)
    shapes["self_attn.o_proj.weight"] = (hidden, heads * value)
    if config["model_type"] == "deepseek_v32":
        index_heads, dim = config["index_n_heads"], config["index_head_dim"]
        shapes["self_attn.indexer.wq_b.weight"] = (index_heads * dim, compressed)
        shapes["self_attn.indexer.wk.weight"] = (dim, hidden)
        shapes["self_attn.indexer.k_norm.weight"] = (dim,)
        shapes["self_attn.indexer.k_norm.bias"] = (dim,)
        shapes["self_attn.indexer.weights_proj.weight"] = (index_heads, hidden)
    return shapes


def _deepseek_network(config: Any, index: int) -> Shapes:
    hidden = config["hidden_size"]
    if index < config["first_k_dense_replace"]:
        return network("mlp.", hidden, config["intermediate_size"])
    shapes: Shapes = {"mlp.gate.weight": (config["n_routed_experts"], hidden)}
    if config["model_type"] != "deepseek_v2":
        shapes["mlp.gate.e_score_correction_bias"] = (config["n_routed_experts"],)
    width = config["moe_intermediate_size"]
    for expert in range(config["n_routed_experts"]):
        shapes |= network(f"mlp.experts.{expert}.", hidden, width)
    return shapes | network("mlp.shared_experts.", hidden, config["n_shared_experts"] * width)


def _gated_attention(config: Any) -> Shapes:
    hidden, size = config["hidden_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    return {
        "self_attn.q_proj.weight": (2 * queries, hidden),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.v_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "self_attn.q_norm.weight": (size,),
        "self_attn.k_norm.weight": (size,),
    }


def _linear_attention(config: Any) -> Shapes:
    hidden, heads = config["hidden_size"], config["linear_num_value_heads"]
    keys = config["linear_num_key_heads"] * config["linear_key_head_dim"]
    values = heads * config["linear_value_head_dim"]
    projections: Shapes = {
        "in_proj_qkv.weight": (2 * keys + values, hidden),
        "in_proj_z.weight": (values, hidden),
        "in_proj_b.weight": (heads, hidden),
        "in_proj_a.weight": (heads, hidden),
    }
    if config["model_type"] == "qwen3_next":
        projections = {
            "in_proj_qkvz.weight": (2 * keys + 2 * values, hidden),
            "in_proj_ba.weight": (2 * heads, hidden),
        }
    shapes: Shapes = {
        **projections,
        "conv1d.weight": (2 * keys + values, 1, config["linear_conv_kernel_dim"]),
        "A_log": (heads,),
        "dt_bias": (heads,),
        "norm.weight": (config["linear_value_head_dim"],),
        "out_proj.weight": (hidden, values),
    }
    return {f"linear_attn.{name}": shape for name, shape in shapes.items()}


def _qwen_network(config: Any) -> Shapes:
    hidden = config["hidden_size"]
    if "num_experts" not in config:
        return network("mlp.", hidden, config["intermediate_size"])
    shapes: Shapes = {"mlp.gate.weight": (config["num_experts"], hidden)}
    for expert in range(config["num_experts"]):
        shapes |= network(f"mlp.experts.{expert}.", hidden, config["moe_intermediate_size"])
    shapes |= network("mlp.shared_expert.", hidden, config["shared_expert_intermediate_size"])
    return shapes | {"mlp.shared_expert_gate.weight": (1, hidden)}


def network(prefix: str, hidden: int, width: int) -> Shapes:
    """The matrices of a SwiGLU network."""
    shapes = {"gate": (width, hidden), "up": (width, hidden), "down": (hidden, width)}
    return {f"{prefix}{name}_proj.weight": shape for name, shape in shapes.items()}
