"""GGUF files of the later families, as llama.cpp's converter makes them.

What it rewrites is done here by other means, in float32; the parity suite compares the result
with the converter's own, tensor by tensor.
"""

from pathlib import Path

import numpy as np
from gguf import GGUFWriter, RopeScalingType
from numpy.typing import NDArray

from tests.golden import ernie_files, gpt_oss_files, grok_files, llama4_files
from tests.golden.rope import rope_divisors
from tests.golden.tensors import Config, Tensors

_ARCHITECTURES = {
    "deepseek_v2": "deepseek2",
    "deepseek_v3": "deepseek2",
    "deepseek_v32": "deepseek32",
    "qwen3_next": "qwen3next",
    "qwen3_5_text": "qwen35",
    "qwen3_5_moe_text": "qwen35moe",
    **ernie_files.ARCHITECTURES,
    "gpt_oss": "gpt-oss",
    "llama4_text": "llama4",
    **dict.fromkeys(grok_files.TYPES, "grok"),
}
_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm.weight": "attn_norm.weight",
    "post_attn_norm.weight": "attn_output_norm.weight",
    "post_moe_norm.weight": "post_ffw_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_proj.bias": "attn_q.bias",
    "self_attn.k_proj.bias": "attn_k.bias",
    "self_attn.v_proj.bias": "attn_v.bias",
    "self_attn.o_proj.bias": "attn_output.bias",
    "self_attn.sinks.weight": "attn_sinks.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "self_attn.q_a_proj.weight": "attn_q_a.weight",
    "self_attn.q_a_layernorm.weight": "attn_q_a_norm.weight",
    "self_attn.q_b_proj.weight": "attn_q_b.weight",
    "self_attn.kv_a_proj_with_mqa.weight": "attn_kv_a_mqa.weight",
    "self_attn.kv_a_layernorm.weight": "attn_kv_a_norm.weight",
    "self_attn.k_b_proj.weight": "attn_k_b.weight",
    "self_attn.v_b_proj.weight": "attn_v_b.weight",
    "linear_attn.in_proj_qkv.weight": "attn_qkv.weight",
    "linear_attn.in_proj_z.weight": "attn_gate.weight",
    "linear_attn.in_proj_ba.weight": "ssm_ba.weight",
    "linear_attn.in_proj_a.weight": "ssm_alpha.weight",
    "linear_attn.in_proj_b.weight": "ssm_beta.weight",
    "linear_attn.conv1d.weight": "ssm_conv1d.weight",
    "linear_attn.A": "ssm_a",
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.norm.weight": "ssm_norm.weight",
    "linear_attn.out_proj.weight": "ssm_out.weight",
    "self_attn.indexer.wq_b.weight": "indexer.attn_q_b.weight",
    "self_attn.indexer.wk.weight": "indexer.attn_k.weight",
    "self_attn.indexer.k_norm.weight": "indexer.k_norm.weight",
    "self_attn.indexer.k_norm.bias": "indexer.k_norm.bias",
    "self_attn.indexer.weights_proj.weight": "indexer.proj.weight",
    "mlp.gate.weight": "ffn_gate_inp.weight",
    "mlp.gate.bias": "ffn_gate_inp.bias",
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
    "mlp.shared_expert_gate.weight": "ffn_gate_inp_shexp.weight",
}


def is_converted(config: Config) -> bool:
    """Whether files of this family are made here."""
    return config["model_type"] in _ARCHITECTURES


def has_gguf(config: Config) -> bool:
    """Whether there are GGUF files of this family here."""
    has_windows = config.get("use_sliding_window", config["model_type"] == "mistral")
    is_stated = config["model_type"] == "gpt_oss" or not has_windows
    is_stated &= config.get("attention_chunk_size") in (None, llama4_files.GGUF_CHUNK)
    return str(config["model_type"]) != "deepseek_v4" and is_stated


def new_writer(config: Config, path: Path) -> GGUFWriter:
    """A file with the metadata of a configuration, without tensors and vocabulary."""
    writer = GGUFWriter(path, _ARCHITECTURES[config["model_type"]])
    writer.add_name("tiny")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if "intermediate_size" in config:
        width = config.get("intermediate_size_mlp", config["intermediate_size"])
        writer.add_feed_forward_length(width)
    rope = config.get("rope_parameters") or {
        "rope_theta": config["rope_theta"],
        **(config.get("rope_scaling") or {}),
    }
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope.get("rope_type") == "yarn":
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
    if config["model_type"].startswith("deepseek_"):
        _add_deepseek(writer, config, rope)
    elif config["model_type"] in ernie_files.ARCHITECTURES:
        ernie_files.add_metadata(writer, config)
    elif config["model_type"] in grok_files.TYPES:
        grok_files.add_metadata(writer, config)
    elif config["model_type"] == "llama4_text":
        llama4_files.add_metadata(writer, config)
    elif config["model_type"] == "gpt_oss":
        gpt_oss_files.add_metadata(writer, config)
    else:
        _add_qwen(writer, config, rope)
    return writer


def _add_deepseek(writer: GGUFWriter, config: Config, rope: Config) -> None:
    rank, rotary = config["kv_lora_rank"], config["qk_rope_head_dim"]
    writer.add_head_count_kv(1)
    writer.add_vocab_size(config["vocab_size"])
    if config["q_lora_rank"] is not None:
        writer.add_q_lora_rank(config["q_lora_rank"])
    writer.add_kv_lora_rank(rank)
    writer.add_key_length(rank + rotary)
    writer.add_value_length(rank)
    writer.add_key_length_mla(config["qk_nope_head_dim"] + rotary)
    writer.add_value_length_mla(config["v_head_dim"])
    writer.add_rope_dimension_count(rotary)
    if "mscale_all_dim" in rope:
        writer.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])
    writer.add_leading_dense_block_count(config["first_k_dense_replace"])
    writer.add_expert_count(config["n_routed_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    writer.add_expert_shared_count(config["n_shared_experts"])
    writer.add_expert_group_count(config["n_group"])
    writer.add_expert_group_used_count(config["topk_group"])
    writer.add_expert_weights_scale(config["routed_scaling_factor"])
    if config["norm_topk_prob"]:
        writer.add_expert_weights_norm(True)
    family = _ARCHITECTURES[config["model_type"]]
    gating = 2 if config["scoring_func"] == "sigmoid" else 1
    writer.add_uint32(f"{family}.expert_gating_func", gating)
    if "index_topk" in config:
        writer.add_uint32(f"{family}.attention.indexer.head_count", config["index_n_heads"])
        writer.add_uint32(f"{family}.attention.indexer.key_length", config["index_head_dim"])
        writer.add_uint32(f"{family}.attention.indexer.top_k", config["index_topk"])


def _add_qwen(writer: GGUFWriter, config: Config, rope: Config) -> None:
    heads = config["linear_num_value_heads"]
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(int(config["head_dim"] * rope["partial_rotary_factor"]))
    writer.add_ssm_conv_kernel(config["linear_conv_kernel_dim"])
    writer.add_ssm_state_size(config["linear_key_head_dim"])
    writer.add_ssm_group_count(config["linear_num_key_heads"])
    writer.add_ssm_time_step_rank(heads)
    writer.add_ssm_inner_size(heads * config["linear_value_head_dim"])
    family = _ARCHITECTURES[config["model_type"]]
    flags = [kind == "linear_attention" for kind in config["layer_types"]]
    writer.add_array(f"{family}.attention.recurrent_layers", flags)
    writer.add_uint32(f"{family}.full_attention_interval", 4)
    if "num_experts" in config:
        writer.add_expert_count(config["num_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
        width = config["shared_expert_intermediate_size"]
        writer.add_expert_shared_feed_forward_length(width)


def converted(config: Config, stacked: Tensors) -> Tensors:
    """Tensors (experts stacked) under their GGUF names, as the converter rewrites them."""
    found: Tensors = {}
    if config["model_type"] in grok_files.TYPES:
        stacked = {grok_files.canonical(name): values for name, values in stacked.items()}
    if config["model_type"] == "llama4_text" and (divisors := rope_divisors(config)) is not None:
        found["rope_freqs.weight"] = divisors
    for name, values in stacked.items():
        prefix, rest = "", name
        if name.startswith("model.layers."):
            _, _, index, rest = name.split(".", 3)
            prefix = f"blk.{index}."
        for stem, rewritten in _rewritten(config, rest, values).items():
            found[prefix + _gguf_name(config, stem)] = np.ascontiguousarray(rewritten)
    return found


def _gguf_name(config: Config, stem: str) -> str:
    if stem == "post_attention_layernorm.weight":
        starts = "deepseek_", "ernie4_5", "llama4", *grok_files.TYPES
        has_ffn_norm = config["model_type"].startswith(starts)
        return "ffn_norm.weight" if has_ffn_norm else "post_attention_norm.weight"
    for part, suffix in (("experts.", "_exps"), ("shared_expert", "_shexp"), ("", "")):
        start = f"mlp.{part}"
        for kind in ("weight", "bias"):
            if stem.startswith(start) and stem.endswith(f"_proj.{kind}"):
                matrix = stem.removesuffix(f"_proj.{kind}").rpartition(".")[2]
                return f"ffn_{matrix}{suffix}.{kind}"
    return _NAMES[stem]


def _rewritten(config: Config, rest: str, values: NDArray[np.float32]) -> Tensors:
    """The tensors that one becomes, under Hugging Face names without the layer."""
    if rest == "self_attn.kv_b_proj.weight":
        heads, plain = config["num_attention_heads"], config["qk_nope_head_dim"]
        parts = values.reshape(heads, -1, values.shape[1])
        return {
            "self_attn.k_b_proj.weight": parts[:, :plain].transpose(0, 2, 1),
            "self_attn.v_b_proj.weight": parts[:, plain:],
        }
    if rest == "mlp.moe_statics.e_score_correction_bias":
        return {"mlp.gate.e_score_correction_bias": values[0]}
    if config["model_type"] == "gpt_oss":
        return gpt_oss_files.rewritten(rest, values)
    if config["model_type"] == "llama4_text":
        return llama4_files.rewritten(rest, values)
    if not config["model_type"].startswith("qwen"):
        return {rest: values}
    if rest == "mlp.shared_expert_gate.weight":
        return {rest: values[0]}
    if rest == "linear_attn.in_proj_qkvz.weight":
        return _ungrouped(config, values)
    if rest.endswith("norm.weight") and rest != "linear_attn.norm.weight":
        return {rest: values + np.float32(1)}
    if rest == "linear_attn.conv1d.weight":
        values = values[:, 0]
    if config["model_type"] != "qwen3_next":
        values = _tiled(config, rest, values)
    if rest == "linear_attn.A_log":
        return {"linear_attn.A": -np.exp(values)}
    return {rest: values}


def _ungrouped(config: Config, values: NDArray[np.float32]) -> Tensors:
    """Queries, keys, values and gates of each key head, apart."""
    keys, size = config["linear_num_key_heads"], config["linear_key_head_dim"]
    share = config["linear_num_value_heads"] // keys * config["linear_value_head_dim"]
    heads = values.reshape(keys, -1, values.shape[1])
    borders = [size, 2 * size, 2 * size + share]
    q, k, v, z = (part.reshape(-1, values.shape[1]) for part in np.split(heads, borders, axis=1))
    return {
        "linear_attn.in_proj_qkv.weight": np.concatenate([q, k, v]),
        "linear_attn.in_proj_z.weight": z,
    }


def _tiled(config: Config, rest: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Value heads in the order (number within its key head, key head)."""
    keys, heads = config["linear_num_key_heads"], config["linear_num_value_heads"]
    size = config["linear_value_head_dim"]
    order = np.arange(heads).reshape(keys, -1).T.reshape(-1)
    rows: NDArray[np.int64] = (order[:, None] * size + np.arange(size)).reshape(-1)
    before = 2 * keys * config["linear_key_head_dim"]
    match rest:
        case "linear_attn.in_proj_qkv.weight" | "linear_attn.conv1d.weight":
            return np.concatenate([values[:before], values[before:][rows]])
        case "linear_attn.in_proj_z.weight":
            return values[rows]
        case "linear_attn.out_proj.weight":
            return np.take(values, rows, axis=1)
        case "linear_attn.in_proj_a.weight" | "linear_attn.in_proj_b.weight":
            return values[order]
        case "linear_attn.A_log" | "linear_attn.dt_bias":
            return values[order]
    return values
