"""Tiny models of DeepSeek, of Qwen's linear attention and of all later families.

The stored sequence is longer than every window, selection and convolution that they have.
"""

from typing import Any

from tests.golden import ernie_files, grok_files, llama4_files
from tests.golden.catalogue import COMMON, Tiny

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

# Windows, compressed rows of both kinds past the selection, and experts named by token ids.
DEEPSEEK_V4 = Tiny(
    name="deepseek_v4",
    vocabulary="qwen2",
    config={
        **COMMON,
        "architectures": ["DeepseekV4ForCausalLM"],
        "model_type": "deepseek_v4",
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "partial_rotary_factor": 0.25,
        "q_lora_rank": 32,
        "o_groups": 2,
        "o_lora_rank": 24,
        "layer_types": [
            "sliding_attention",
            "compressed_sparse_attention",
            "heavily_compressed_attention",
            "compressed_sparse_attention",
        ],
        "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 24},
        "sliding_window": 16,
        "index_n_heads": 32,
        "index_head_dim": 16,
        "index_topk": 8,
        "mlp_layer_types": ["hash_moe", "moe", "moe", "moe"],
        "n_routed_experts": 8,
        "num_experts_per_tok": 3,
        "moe_intermediate_size": 40,
        "n_shared_experts": 1,
        "routed_scaling_factor": 1.5,
        "scoring_func": "sqrtsoftplus",
        "norm_topk_prob": True,
        "swiglu_limit": 1.5,
        "hc_mult": 3,
        "hc_sinkhorn_iters": 20,
        "hc_eps": 1e-6,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "bos_token_id": 305,
        "eos_token_id": 307,
        "rope_theta": 10000.0,
        "compress_rope_theta": 160000.0,
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 8.0,
            "original_max_position_embeddings": 64,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
        },
    },
    ablations={
        "sinks": "attn.attn_sink",
        "biases of compression": "compressor.ape",
        "limits of activations": {"swiglu_limit": 100.0},
        "the selection": {"index_topk": 100},
        "mixing of streams": "hc_attn_base",
    },
    seed=5,
)

CATALOGUE = (
    DEEPSEEK_V2,
    DEEPSEEK_V2_LITE,
    DEEPSEEK_V3,
    DEEPSEEK_V32,
    QWEN3_NEXT,
    QWEN3_5,
    QWEN3_5_MOE,
    DEEPSEEK_V4,
    *ernie_files.CATALOGUE,
    *llama4_files.CATALOGUE,
    *grok_files.CATALOGUE,
)
