"""The tensors of the models of ``later_families``: their names in files, and shapes, rows first."""

from typing import Any

from tests.golden import ernie_files, gpt_oss_files, grok_files, llama4_files
from tests.golden.parts import Shapes, network


def has_shapes(config: Any) -> bool:
    """Whether the tensors of this configuration are listed here."""
    starts = "deepseek_", "qwen3_next", "qwen3_5", "gpt_oss", "ernie4_5", "llama4"
    return str(config["model_type"]).startswith((*starts, *grok_files.TYPES))


def layer_shapes(config: Any, index: int) -> Shapes:
    """The tensors of one layer, without the norms before its parts."""
    if config["model_type"] == "gpt_oss":
        return gpt_oss_files.layer_shapes(config)
    if config["model_type"] == "deepseek_v4":
        return _compressed_attention(config, index) | _compressed_network(config, index)
    if config["model_type"].startswith("deepseek_"):
        return _latent_attention(config) | _deepseek_network(config, index)
    if config["model_type"] in ernie_files.ARCHITECTURES:
        return ernie_files.layer_shapes(config, index)
    if config["model_type"] in grok_files.TYPES:
        return grok_files.layer_shapes(config)
    if config["model_type"] == "llama4_text":
        return llama4_files.layer_shapes(config, index)
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


def _compressed_attention(config: Any, index: int) -> Shapes:
    hidden, heads, size = (
        config[key] for key in ("hidden_size", "num_attention_heads", "head_dim")
    )
    compressed, groups, rank = (config[key] for key in ("q_lora_rank", "o_groups", "o_lora_rank"))
    shapes: Shapes = {
        "attn.attn_sink": (heads,),
        "attn.wq_a.weight": (compressed, hidden),
        "attn.q_norm.weight": (compressed,),
        "attn.wq_b.weight": (heads * size, compressed),
        "attn.wkv.weight": (size, hidden),
        "attn.kv_norm.weight": (size,),
        "attn.wo_a.weight": (groups * rank, heads * size // groups),
        "attn.wo_b.weight": (hidden, groups * rank),
    }
    kind = config["layer_types"][index]
    if kind == "sliding_attention":
        return shapes
    rate, is_sparse = config["compress_rates"][kind], kind.startswith("compressed_sparse")
    shapes |= _compressor("attn.", hidden, size, rate, 2 if is_sparse else 1)
    if is_sparse:
        index_heads, dim = config["index_n_heads"], config["index_head_dim"]
        shapes["attn.indexer.wq_b.weight"] = (index_heads * dim, compressed)
        shapes["attn.indexer.weights_proj.weight"] = (index_heads, hidden)
        shapes |= _compressor("attn.indexer.", hidden, dim, rate, 2)
    return shapes


def _compressor(prefix: str, hidden: int, size: int, rate: int, series: int) -> Shapes:
    shapes: Shapes = {
        "wkv.weight": (series * size, hidden),
        "wgate.weight": (series * size, hidden),
        "ape": (rate, series * size),
        "norm.weight": (size,),
    }
    return {f"{prefix}compressor.{name}": shape for name, shape in shapes.items()}


def _compressed_network(config: Any, index: int) -> Shapes:
    hidden, width, streams = (
        config[key] for key in ("hidden_size", "moe_intermediate_size", "hc_mult")
    )
    count, per_token = config["n_routed_experts"], config["num_experts_per_tok"]
    matrices: Shapes = {"w1": (width, hidden), "w2": (hidden, width), "w3": (width, hidden)}
    shapes: Shapes = {"ffn.gate.weight": (count, hidden)}
    if config["mlp_layer_types"][index] == "hash_moe":
        shapes["ffn.gate.tid2eid"] = (config["vocab_size"], per_token)
    else:
        shapes["ffn.gate.bias"] = (count,)
    for network_name in (*(f"experts.{e}" for e in range(count)), "shared_experts"):
        shapes |= {f"ffn.{network_name}.{m}.weight": shape for m, shape in matrices.items()}
    weights = (2 + streams) * streams
    for part in ("attn", "ffn"):
        shapes[f"hc_{part}_fn"] = (weights, streams * hidden)
        shapes[f"hc_{part}_base"] = (weights,)
        shapes[f"hc_{part}_scale"] = (3,)
    return shapes


def renamed(config: Any, shapes: Shapes) -> Shapes:
    """All tensors of a model under the names of its files: DeepSeek-V4 has names of its own."""
    if config["model_type"] in grok_files.TYPES:
        return {grok_files.own_name(config, name): shape for name, shape in shapes.items()}
    if config["model_type"] != "deepseek_v4":
        return shapes
    names = {
        "model.embed_tokens.weight": "embed.weight",
        "lm_head.weight": "head.weight",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "model.": "",
    }
    found: Shapes = {}
    for name, shape in shapes.items():
        for old, new in names.items():
            name = name.replace(old, new)
        found[name] = shape
    streams, hidden = config["hc_mult"], config["hidden_size"]
    found["hc_head_fn"] = (streams, streams * hidden)
    found["hc_head_base"] = (streams,)
    found["hc_head_scale"] = (1,)
    return found


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
