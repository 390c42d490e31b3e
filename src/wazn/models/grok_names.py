"""Grok's names of tensors in safetensors, as the names that wazn uses.

Grok-2's are those of its published files, Grok-1's those of its conversions to PyTorch.
"""

import re

_LAYER = {
    "pre_attn_norm": "input_layernorm",
    "post_attn_norm": "post_attn_norm",
    "pre_moe_norm": "post_attention_layernorm",
    "post_moe_norm": "post_moe_norm",
    "attn.q_proj": "self_attn.q_proj",
    "attn.k_proj": "self_attn.k_proj",
    "attn.v_proj": "self_attn.v_proj",
    "attn.o_proj": "self_attn.o_proj",
    "block_sparse_moe.gate": "mlp.gate",
    "moe_block.gate": "mlp.gate",
}
LAYER_NAMES = ("post_attn_norm.weight", "post_moe_norm.weight")
_OF_LAYER = re.compile(r"(model\.layers\.\d{1,6}\.)(.+)\.(?:weight|scale)")


def canonical(name: str) -> str:
    """wazn's name of a tensor of Grok; any other name as it is. Norms may be called scales."""
    match = _OF_LAYER.fullmatch(name)
    if match is not None and match[2] in _LAYER:
        return f"{match[1]}{_LAYER[match[2]]}.weight"
    return "model.norm.weight" if name == "model.norm.scale" else name
