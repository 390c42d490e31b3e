"""Random tiny configurations of the later families, and transformers' models of them.

As ``test_random_models`` draws them for families with plain attention: a case is a function of a
seed, with sizes that divide nothing, sequences past every window, selection and compression, and
enough index heads that no two scores are zero at once.
"""

from random import Random
from typing import Any

import numpy as np
import torch
import transformers

CONTEXT = 256


def draw_config(random: Random, family: str) -> dict[str, Any]:
    """A configuration that the family's published checkpoints could have, only tiny."""
    common: dict[str, Any] = {
        "vocab_size": random.randint(40, 400),
        "num_hidden_layers": random.randint(2, 4),
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": random.choice((1e-6, 1e-5)),
        "tie_word_embeddings": random.random() < 0.3,
    }
    if family.startswith("qwen"):
        return common | _draw_qwen(random, family, common["num_hidden_layers"])
    if family == "llama4_text":
        return common | _draw_llama4(random, common["num_hidden_layers"])
    if family.startswith("ernie4_5"):
        return common | _draw_ernie(random, family, common["num_hidden_layers"])
    if family == "deepseek_v4":
        return common | _draw_compressed(random, common["num_hidden_layers"])
    if family == "gpt_oss":
        return common | _draw_gpt_oss(random, common["num_hidden_layers"])
    return common | _draw_latent(random, family)


def _draw_gpt_oss(random: Random, num_layers: int) -> dict[str, Any]:
    kv_heads, count = random.choice((1, 2, 3)), random.randint(2, 20)
    yarn = {
        "rope_type": "yarn",
        "factor": random.choice((4.0, 32.0)),
        "original_max_position_embeddings": random.choice((16, 64)),
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": random.random() < 0.3,
    }
    kinds = "sliding_attention", "full_attention"
    return {
        "hidden_size": 8 * random.randint(3, 16),
        "intermediate_size": 8 * random.randint(2, 12),
        "num_key_value_heads": kv_heads,
        "num_attention_heads": kv_heads * random.choice((1, 2, 3, 8)),
        "head_dim": random.choice((16, 32, 64)),
        "num_local_experts": count,
        "num_experts_per_tok": random.randint(1, min(4, count)),
        "sliding_window": random.choice((1, 5, 16, 63, 100)),
        "layer_types": None
        if random.random() < 0.5
        else [random.choice(kinds) for _ in range(num_layers)],
        "swiglu_limit": random.choice((0.7, 2.0, 7.0)),
        "attention_bias": random.random() < 0.8,
        "rope_parameters": {"rope_theta": random.choice((1e4, 1.5e5))}
        | (yarn if random.random() < 0.7 else {"rope_type": "default"}),
    }


def _draw_experts(random: Random, group: int = 1) -> dict[str, Any]:
    count = group * random.randint(3, 6)
    return {
        "num_experts_per_tok": random.randint(1, 4),
        "moe_intermediate_size": 8 * random.randint(1, 9),
        "n_routed_experts": count,
        "n_shared_experts": random.randint(1, 3),
    }


def _draw_latent(random: Random, family: str) -> dict[str, Any]:
    heads, groups = random.choice((1, 2, 4, 6)), random.choice((1, 2, 3))
    is_second, has_yarn = family == "deepseek_v2", random.random() < 0.6
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": random.choice((1e4, 5e5))}
    if has_yarn:
        mscale = random.choice((0.5, 0.707, 1.0))
        rope |= {
            "rope_type": "yarn",
            "factor": 8.0,
            "original_max_position_embeddings": 32,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "mscale": random.choice((mscale, 1.0)),
            "mscale_all_dim": mscale,
        }
    config: dict[str, Any] = {
        "hidden_size": heads * 8 * random.randint(2, 6),
        "intermediate_size": 8 * random.randint(2, 20),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "first_k_dense_replace": random.randint(0, 2),
        "q_lora_rank": 8 * random.randint(2, 8),
        "kv_lora_rank": 16 * random.randint(1, 5),
        "qk_nope_head_dim": random.choice((6, 8, 20, 32)),
        "qk_rope_head_dim": random.choice((4, 8, 16)),
        "v_head_dim": random.choice((6, 16, 24)),
        "attention_bias": random.random() < 0.4,
        "n_group": groups,
        "topk_group": (groups + 2) // 2,
        "routed_scaling_factor": random.choice((1.0, 2.5)),
        "rope_parameters": rope,
        **_draw_experts(random, groups),
    }
    if is_second:
        config["topk_method"] = random.choice(("greedy", "group_limited_greedy"))
        if random.random() < 0.4:
            config["q_lora_rank"] = None
    if family == "deepseek_v32":
        config["index_n_heads"] = random.choice((32, 48))
        config["index_head_dim"] = random.choice((16, 32))
        config["index_topk"] = random.randint(5, 60)
    return config


def _draw_qwen(random: Random, family: str, num_layers: int) -> dict[str, Any]:
    kv_heads, keys = random.choice((1, 2, 3)), random.choice((1, 2, 3))
    config: dict[str, Any] = {
        "hidden_size": 8 * random.randint(4, 16),
        "num_key_value_heads": kv_heads,
        "num_attention_heads": kv_heads * random.choice((1, 2, 3)),
        "head_dim": random.choice((16, 32, 64)),
        "linear_num_key_heads": keys,
        "linear_num_value_heads": keys * random.choice((1, 2, 3)),
        "linear_key_head_dim": random.choice((12, 16, 40)),
        "linear_value_head_dim": random.choice((16, 32, 80)),
        "linear_conv_kernel_dim": random.choice((2, 3, 4)),
        "layer_types": [
            random.choice(("full_attention", "linear_attention")) for _ in range(num_layers)
        ],
        "attention_bias": random.random() < 0.3,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": random.choice((1e4, 1e7)),
            "partial_rotary_factor": random.choice((0.25, 0.5)),
        },
    }
    if family != "qwen3_next":
        half = int(config["head_dim"] * config["rope_parameters"]["partial_rotary_factor"]) // 2
        config["rope_parameters"]["mrope_section"] = [half - 2 * (half // 3), half // 3, half // 3]
    if family == "qwen3_5_text":
        return config | {"intermediate_size": 8 * random.randint(2, 20)}
    return config | {
        "intermediate_size": 64,
        "num_experts": random.randint(4, 18),
        "num_experts_per_tok": random.randint(1, 4),
        "moe_intermediate_size": 8 * random.randint(1, 9),
        "shared_expert_intermediate_size": 8 * random.randint(1, 9),
        **({"norm_topk_prob": random.random() < 0.7} if family == "qwen3_next" else {}),
    }


def _draw_ernie(random: Random, family: str, num_layers: int) -> dict[str, Any]:
    kv_heads = random.choice((1, 2, 3))
    config: dict[str, Any] = {
        "hidden_size": 8 * random.randint(4, 16),
        "intermediate_size": 8 * random.randint(2, 20),
        "num_key_value_heads": kv_heads,
        "num_attention_heads": kv_heads * random.choice((1, 2, 3)),
        "head_dim": random.choice((16, 32, 80)),
        "use_bias": random.random() < 0.3,
        "rope_parameters": {"rope_type": "default", "rope_theta": random.choice((1e4, 5e5))},
    }
    if family == "ernie4_5_moe":
        start, count = random.randint(0, num_layers - 1), random.randint(3, 20)
        config |= {
            "moe_num_experts": count,
            "moe_k": random.randint(1, 3),
            "moe_intermediate_size": 8 * random.randint(1, 9),
            "moe_num_shared_experts": random.randint(0, 2),
            "moe_layer_start_index": start,
            "moe_layer_end_index": random.choice((-1, random.randint(start, num_layers - 1))),
            "moe_layer_interval": random.choice((1, 1, 2)),
            "moe_norm_min": random.choice((1e-12, 0.3)),
        }
    return config


def _draw_llama4(random: Random, num_layers: int) -> dict[str, Any]:
    kv_heads, head_dim = random.choice((1, 2, 3)), random.choice((16, 32, 80))
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": random.choice((1e4, 5e5))}
    if random.random() < 0.6:  # as published: the two factors may be the same
        rope |= {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": random.choice((1.0, 4.0)),
            "original_max_position_embeddings": 32,
        }
    config: dict[str, Any] = {
        "hidden_size": 8 * random.randint(4, 16),
        "intermediate_size": 8 * random.randint(1, 12),
        "intermediate_size_mlp": 8 * random.randint(2, 20),
        "num_key_value_heads": kv_heads,
        "num_attention_heads": kv_heads * random.choice((1, 2, 3)),
        "head_dim": head_dim,
        "num_local_experts": random.randint(2, 9),
        "num_experts_per_tok": random.choice((1, 1, 2)),
        "interleave_moe_layer_step": random.choice((1, 2)),
        "attention_chunk_size": random.choice((1, 7, 32, 64, 100)),
        "attn_temperature_tuning": random.random() < 0.7,
        "floor_scale": random.choice((4, 30)),
        "attn_scale": random.choice((0.1, 0.5)),
        "use_qk_norm": random.random() < 0.5,
        "attention_bias": random.random() < 0.3,
        "rope_parameters": rope,
    }
    if random.random() < 0.5:
        config["no_rope_layers"] = [random.randint(0, 1) for _ in range(num_layers)]
    else:
        config["no_rope_layer_interval"] = random.choice((2, 3))
    return config


def _draw_compressed(random: Random, num_layers: int) -> dict[str, Any]:
    kinds = "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"
    groups, hashed = random.choice((1, 2, 3)), random.randint(0, num_layers)
    experts = _draw_experts(random)
    return {
        "hidden_size": 8 * random.randint(4, 12),
        "num_attention_heads": groups * random.choice((1, 2)),
        "num_key_value_heads": 1,
        "head_dim": random.choice((16, 32, 64)),
        "q_lora_rank": 8 * random.randint(2, 6),
        "partial_rotary_factor": random.choice((0.25, 0.5)),
        "layer_types": [random.choice(kinds) for _ in range(num_layers)],
        "compress_rates": {
            kinds[1]: random.choice((2, 3, 4)),
            kinds[2]: random.choice((7, 16, 80)),
        },
        "sliding_window": random.choice((1, 5, 16, 100)),
        "o_groups": groups,
        "o_lora_rank": 8 * random.randint(1, 4),
        "index_n_heads": random.choice((32, 40)),
        "index_head_dim": 32,
        "index_topk": random.randint(2, 20),
        "mlp_layer_types": ["hash_moe"] * hashed + ["moe"] * (num_layers - hashed),
        "hc_mult": random.choice((1, 2, 4)),
        "hc_sinkhorn_iters": random.choice((1, 5, 20)),
        "swiglu_limit": random.choice((0.5, 10.0)),
        "tie_word_embeddings": False,
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            "beta_fast": 32,
            "beta_slow": 1,
        },
        **experts,
        "n_shared_experts": 1,
    }


def reference_model(family: str, config: dict[str, Any], seed: int) -> Any:
    """transformers' model with every parameter drawn anew, biases and tables too."""
    auto: Any = transformers
    settings = auto.AutoConfig.for_model(family, **config)
    torch.manual_seed(seed)  # of the initial values to which some of the drawn ones are added
    model = auto.AutoModelForCausalLM.from_config(settings, attn_implementation="eager")
    generator = torch.Generator().manual_seed(seed)

    def normal(shape: torch.Size) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    buffers = [(n, b) for n, b in model.named_buffers() if n.endswith(("_bias", "tid2eid"))]
    with torch.no_grad():
        for name, values in [*model.named_parameters(), *buffers]:
            if name.endswith("tid2eid"):
                count = int(settings.n_routed_experts)
                orders = [torch.randperm(count, generator=generator) for _ in values]
                values.copy_(torch.stack(orders)[:, : values.shape[1]])
            elif "norm" in name and not name.endswith("bias"):
                values.add_(0.2 * normal(values.shape))
            elif name.endswith(("A_log", "dt_bias")):
                values.add_(0.3 * normal(values.shape))
            elif values.dim() >= 2 and not name.endswith("position_bias"):
                values.copy_(1.5 / np.sqrt(values.shape[-1]) * normal(values.shape))
            else:
                values.copy_(0.4 * normal(values.shape))
    return model.float().eval()
