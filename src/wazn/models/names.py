"""Tensor names: Hugging Face names are the ones wazn uses; GGUF names are translated to them."""

import re
from collections.abc import Iterable

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
    "ffn_norm": "post_attention_layernorm",
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
_GGUF_LAYER_TENSOR = re.compile(r"blk\.(\d{1,6})\.([a-z_]+)\.(weight|bias)")
_USED = re.compile(
    r"(model\.embed_tokens|model\.norm|lm_head|model\.layers\.\d+\.("
    + "|".join(re.escape(name) for name in _LAYER.values())
    + r"))\.(weight|bias)"
)


def huggingface_name(gguf_name: str) -> str | None:
    """The Hugging Face name of a GGUF tensor, or None for one that no model here uses."""
    if match := _GGUF_LAYER_TENSOR.fullmatch(gguf_name):
        layer, stem, kind = match.groups()
        return f"model.layers.{layer}.{_LAYER[stem]}.{kind}" if stem in _LAYER else None
    stem, _, kind = gguf_name.rpartition(".")
    return f"{_GLOBAL[stem]}.{kind}" if stem in _GLOBAL else None


def used_tensors(names: Iterable[str], *, is_gguf: bool) -> dict[str, str]:
    """Hugging Face name → name in the container, for the tensors that models here use."""
    if not is_gguf:
        return {name: name for name in names if _USED.fullmatch(name)}
    translated = ((huggingface_name(name), name) for name in names)
    return {to: name for to, name in translated if to is not None}
