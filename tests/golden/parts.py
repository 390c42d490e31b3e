"""Tensors of the parts that families share: their names in files, and shapes, rows first."""

from typing import Any, TypeAlias

Shapes: TypeAlias = dict[str, tuple[int, ...]]


def network(prefix: str, hidden: int, width: int) -> Shapes:
    """The matrices of a SwiGLU network."""
    shapes = {"gate": (width, hidden), "up": (width, hidden), "down": (hidden, width)}
    return {f"{prefix}{name}_proj.weight": shape for name, shape in shapes.items()}


def attention(config: Any) -> Shapes:
    """The matrices of grouped-query attention without biases."""
    hidden, heads, kv_heads = (
        config[key] for key in ("hidden_size", "num_attention_heads", "num_key_value_heads")
    )
    size = config.get("head_dim") or hidden // heads
    return {
        "self_attn.q_proj.weight": (heads * size, hidden),
        "self_attn.k_proj.weight": (kv_heads * size, hidden),
        "self_attn.v_proj.weight": (kv_heads * size, hidden),
        "self_attn.o_proj.weight": (hidden, heads * size),
    }
