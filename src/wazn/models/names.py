"""Tensor names: Hugging Face names are the ones wazn uses; GGUF names are translated to them."""

import re
from collections.abc import Iterable

from wazn.models import deepseek_names, grok_names

_GLOBAL = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_q_a": "self_attn.q_a_proj",
    "attn_q_a_norm": "self_attn.q_a_layernorm",
    "attn_q_b": "self_attn.q_b_proj",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
    "attn_kv_a_norm": "self_attn.kv_a_layernorm",
    "attn_kv_b": "self_attn.kv_b_proj",
    "attn_k_b": "self_attn.k_b_proj",
    "attn_v_b": "self_attn.v_b_proj",
    "indexer.attn_q_b": "self_attn.indexer.wq_b",
    "indexer.attn_k": "self_attn.indexer.wk",
    "indexer.k_norm": "self_attn.indexer.k_norm",
    "indexer.proj": "self_attn.indexer.weights_proj",
    "attn_qkv": "linear_attn.in_proj_qkv",
    "attn_gate": "linear_attn.in_proj_z",
    "ssm_ba": "linear_attn.in_proj_ba",
    "ssm_alpha": "linear_attn.in_proj_a",
    "ssm_beta": "linear_attn.in_proj_b",
    "ssm_conv1d": "linear_attn.conv1d",
    "ssm_norm": "linear_attn.norm",
    "ssm_out": "linear_attn.out_proj",
    "ffn_norm": "post_attention_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "attn_output_norm": "post_attn_norm",  # of Grok, as the next two
    "layer_output_norm": "post_moe_norm",
    "post_ffw_norm": "post_moe_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.gate_proj",
    "ffn_up_exps": "mlp.experts.up_proj",
    "ffn_down_exps": "mlp.experts.down_proj",
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
    "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
    "ffn_up_shexp": "mlp.shared_expert.up_proj",
    "ffn_down_shexp": "mlp.shared_expert.down_proj",
}
_HUGGINGFACE_ONLY = ("linear_attn.in_proj_qkvz",)  # which the converter divides
_WHOLE = {  # GGUF tensors whose Hugging Face names have no "weight" or "bias" at the end
    "exp_probs_b.bias": "mlp.gate.e_score_correction_bias",
    "ssm_a": "linear_attn.A",
    "ssm_dt.bias": "linear_attn.dt_bias",
    "attn_sinks.weight": "self_attn.sinks",
}
_GGUF_LAYER_TENSOR = re.compile(r"blk\.(\d{1,6})\.([a-z0-9_.]+)")
_ALIASES = {
    "mlp.shared_experts.": "mlp.shared_expert.",  # DeepSeek and ERNIE count them
    "mlp.moe_statics.": "mlp.gate.",  # ERNIE
    "feed_forward.": "mlp.",  # of Llama 4
    "mlp.router.": "mlp.gate.",  # of gpt-oss and Llama 4
    "language_model.model.": "model.",
    "language_model.lm_head.": "lm_head.",
    "model.language_model.": "model.",  # the text part of a model that also sees
}
_OTHER = (  # of DeepSeek-V4 and of linear attention, whole
    *deepseek_names.LAYER_NAMES,
    *grok_names.LAYER_NAMES,
    "linear_attn.A_log",
)
_USED = re.compile(
    r"(model\.embed_tokens|model\.norm|lm_head|model\.layers\.\d{1,6}\.("
    + "|".join(re.escape(name) for name in (*_LAYER.values(), *_HUGGINGFACE_ONLY))
    + r"))\.(weight|bias)|model\.layers\.\d{1,6}\.("
    + "|".join(re.escape(name) for name in (*_WHOLE.values(), *_OTHER))
    + ")|"
    + "|".join(re.escape(name) for name in deepseek_names.GLOBAL_NAMES)
)
_LAYER_NUMBER = re.compile(r"model\.layers\.(\d+)\.")


def huggingface_name(gguf_name: str) -> str | None:
    """The Hugging Face name of a GGUF tensor, or None for one that no model here uses."""
    if match := _GGUF_LAYER_TENSOR.fullmatch(gguf_name):
        layer, rest = match.groups()
        stem, _, kind = rest.rpartition(".")
        if rest in _WHOLE:
            return f"model.layers.{layer}.{_WHOLE[rest]}"
        is_used = stem in _LAYER and kind in ("weight", "bias")
        return f"model.layers.{layer}.{_LAYER[stem]}.{kind}" if is_used else None
    stem, _, kind = gguf_name.rpartition(".")
    return f"{_GLOBAL[stem]}.{kind}" if stem in _GLOBAL else None


def used_tensors(names: Iterable[str], *, is_gguf: bool) -> dict[str, str]:
    """Hugging Face name → name in the container, for the tensors that models here use."""
    if not is_gguf:
        aliased = ((_aliased(name), name) for name in names)
        return {to: name for to, name in aliased if _USED.fullmatch(to)}
    translated = ((huggingface_name(name), name) for name in names)
    return {to: name for to, name in translated if to is not None}


def without_layers_from(names: dict[str, str], num_layers: int) -> dict[str, str]:
    """Only tensors of the first layers: a draft head may follow them in layers of its own."""

    def is_kept(name: str) -> bool:
        match = _LAYER_NUMBER.match(name)
        return match is None or int(match[1]) < num_layers

    return {to: name for to, name in names.items() if is_kept(to)}


def _aliased(name: str) -> str:
    name = grok_names.canonical(deepseek_names.canonical(name))
    for alias, canonical in _ALIASES.items():
        name = name.replace(alias, canonical)
    return name
