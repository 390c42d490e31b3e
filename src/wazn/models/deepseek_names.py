"""DeepSeek-V4's names of tensors, which are those of its own code, as the names that wazn uses."""

import re

_GLOBAL = {
    "embed.weight": "model.embed_tokens.weight",
    "head.weight": "lm_head.weight",
    "norm.weight": "model.norm.weight",
    "hc_head_fn": "model.hc_head.fn.weight",
    "hc_head_base": "model.hc_head.base",
    "hc_head_scale": "model.hc_head.scale",
    # As transformers saves them.
    "hc_head.hc_fn": "model.hc_head.fn.weight",
    "hc_head.hc_base": "model.hc_head.base",
    "hc_head.hc_scale": "model.hc_head.scale",
}
_LAYER = {
    "attn_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "attn.wq_a.weight": "self_attn.q_a_proj.weight",
    "attn.q_norm.weight": "self_attn.q_a_layernorm.weight",
    "attn.wq_b.weight": "self_attn.q_b_proj.weight",
    "attn.wkv.weight": "self_attn.kv_proj.weight",
    "attn.kv_norm.weight": "self_attn.kv_a_layernorm.weight",
    "attn.norm.weight": "self_attn.kv_a_layernorm.weight",  # as transformers saves it
    "attn.wo_a.weight": "self_attn.o_a_proj.weight",
    "attn.wo_b.weight": "self_attn.o_b_proj.weight",
    "attn.attn_sink": "self_attn.sinks",
    "attn.indexer.wq_b.weight": "self_attn.indexer.wq_b.weight",
    "attn.indexer.weights_proj.weight": "self_attn.indexer.weights_proj.weight",
    "ffn.gate.weight": "mlp.gate.weight",
    "ffn.gate.bias": "mlp.gate.e_score_correction_bias",
    "ffn.gate.tid2eid": "mlp.gate.tid2eid",
    "ffn.shared_experts.w1.weight": "mlp.shared_expert.gate_proj.weight",
    "ffn.shared_experts.w2.weight": "mlp.shared_expert.down_proj.weight",
    "ffn.shared_experts.w3.weight": "mlp.shared_expert.up_proj.weight",
}
for _start in ("compressor.", "indexer.compressor."):
    for _end in ("ape", "wkv.weight", "wgate.weight", "norm.weight"):
        _LAYER[f"attn.{_start}{_end}"] = f"self_attn.{_start}{_end}"
for _part in ("attn", "ffn"):
    _LAYER[f"hc_{_part}_fn"] = f"{_part}_hc.fn.weight"
    _LAYER[f"hc_{_part}_base"] = f"{_part}_hc.base"
    _LAYER[f"hc_{_part}_scale"] = f"{_part}_hc.scale"

LAYER_NAMES = frozenset(_LAYER.values())
GLOBAL_NAMES = frozenset(_GLOBAL.values())
_OF_LAYER = re.compile(r"layers\.(\d{1,6})\.(.+)")


def canonical(name: str) -> str:
    """wazn's name of a tensor of DeepSeek-V4; any other name as it is."""
    rest = name.removeprefix("model.")
    if match := _OF_LAYER.fullmatch(rest):
        known = _LAYER.get(match[2])
        return f"model.layers.{match[1]}.{known}" if known else name
    return _GLOBAL.get(rest, name)
