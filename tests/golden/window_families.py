"""Tiny models with windows and sinks, and of Seed-OSS, as ``catalogue`` has the others.

The stored sequence is several times as long as their windows. GGUF has no keys for the windows of
Mistral and Qwen: those come as directories only.
"""

from typing import Any

from tests.golden.catalogue import COMMON, Tiny

GPT_OSS = Tiny(
    name="gpt_oss",
    vocabulary="qwen2",
    config={
        **COMMON,
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "hidden_size": 80,
        "intermediate_size": 40,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "num_local_experts": 6,
        "num_experts_per_tok": 3,
        "sliding_window": 16,
        "layer_types": 2 * ["sliding_attention", "full_attention"],
        "swiglu_limit": 7.0,
        "attention_bias": True,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "bos_token_id": 305,
        "eos_token_id": 307,
        # The spelling of the published files.
        "rope_theta": 150000.0,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 8.0,
            "original_max_position_embeddings": 64,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
        },
    },
    ablations={
        "sinks": "self_attn.sinks",
        "the window": {"sliding_window": 512},
        "limits of activations": {"swiglu_limit": 100.0},
        "biases of experts": "proj_bias",
        "bias of the router": "router.bias",
        "bias of the output": "o_proj.bias",
        "yarn without rounding": {
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 8.0,
                "original_max_position_embeddings": 64,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
            }
        },
    },
    seed=1,
)

SEED_OSS = Tiny(
    name="seed_oss",
    vocabulary="qwen2",
    config={
        **COMMON,
        "architectures": ["SeedOssForCausalLM"],
        "model_type": "seed_oss",
        "hidden_size": 64,
        "intermediate_size": 104,
        "num_hidden_layers": 3,
        "num_attention_heads": 5,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "attention_bias": True,
        "attention_out_bias": False,
        "mlp_bias": False,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "bos_token_id": 305,
        "eos_token_id": 307,
        "rope_theta": 10000000.0,
    },
    ablations={"qkv bias": "_proj.bias"},
    seed=16,
)

_PLAIN: dict[str, Any] = {
    **COMMON,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 305,
    "eos_token_id": 307,
}

MISTRAL = Tiny(
    name="mistral",
    vocabulary="smollm2",
    config={
        **_PLAIN,
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "num_hidden_layers": 3,
        "head_dim": 32,
        "sliding_window": 24,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "bos_token_id": 306,
        "eos_token_id": 307,
        "rope_theta": 10000.0,
    },
    ablations={"the window": {"sliding_window": None}},
    seed=4,
)

QWEN2_WINDOW = Tiny(
    name="qwen2_window",
    vocabulary="qwen2",
    config={
        **_PLAIN,
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "num_hidden_layers": 4,
        "use_sliding_window": True,
        "sliding_window": 20,
        "max_window_layers": 2,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "rope_theta": 1000000.0,
    },
    ablations={
        "the windows": {"use_sliding_window": False},
        "layers without a window": {"max_window_layers": 0},
    },
    seed=5,
)

QWEN3_WINDOW = Tiny(
    name="qwen3_window",
    vocabulary="qwen2",
    config={
        **_PLAIN,
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "num_hidden_layers": 3,
        "head_dim": 48,
        "use_sliding_window": True,
        "sliding_window": 65,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "tie_word_embeddings": True,
        "rope_theta": 1000000.0,
    },
    ablations={"the windows": {"sliding_window": 512}},
    seed=23,
)

CATALOGUE = (GPT_OSS, SEED_OSS, MISTRAL, QWEN2_WINDOW, QWEN3_WINDOW)
