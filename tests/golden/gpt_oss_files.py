"""Files of gpt-oss: the shapes of its tensors, its GGUF files, and experts in 4-bit floats.

Directories have gate and up of all experts as one stack (experts, in, out), column by column in
turn; published ones in place of it blocks of 4-bit floats, rows first. GGUF keeps both apart.
"""

from typing import Any

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray

from tests.golden.weights import stream

Shapes = dict[str, tuple[int, ...]]
Tensors = dict[str, NDArray[Any]]

_E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
VALUES = np.concatenate([_E2M1, -_E2M1])  # of the 16 codes (OCP MX specification 1.0)


def layer_shapes(config: Any) -> Shapes:
    """The tensors of one layer, without the norms before its parts."""
    hidden, size = config["hidden_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    shapes: Shapes = {}
    for name, rows, columns in (
        ("q", queries, hidden),
        ("k", keys, hidden),
        ("v", keys, hidden),
        ("o", hidden, queries),
    ):
        shapes[f"self_attn.{name}_proj.weight"] = (rows, columns)
        shapes[f"self_attn.{name}_proj.bias"] = (rows,)
    shapes["self_attn.sinks"] = (config["num_attention_heads"],)
    count, width = config["num_local_experts"], config["intermediate_size"]
    shapes["mlp.router.weight"], shapes["mlp.router.bias"] = (count, hidden), (count,)
    return shapes | {
        "mlp.experts.gate_up_proj": (count, hidden, 2 * width),
        "mlp.experts.gate_up_proj_bias": (count, 2 * width),
        "mlp.experts.down_proj": (count, width, hidden),
        "mlp.experts.down_proj_bias": (count, hidden),
    }


def add_metadata(writer: GGUFWriter, config: Any) -> None:
    """What the files of this family say besides."""
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_expert_count(config["num_local_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_feed_forward_length(config["intermediate_size"])
    writer.add_sliding_window(config["sliding_window"])


def rewritten(rest: str, values: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """The tensors that one of a layer becomes, under Hugging Face names without the layer."""
    is_bias = rest.endswith("_bias")
    kind = "bias" if is_bias else "weight"
    if rest.startswith("mlp.experts.gate_up_proj"):
        rows = values if is_bias else values.swapaxes(1, 2)
        parts = {"gate": rows[:, 0::2], "up": rows[:, 1::2]}
        return {f"mlp.experts.{name}_proj.{kind}": part for name, part in parts.items()}
    if rest.startswith("mlp.experts.down_proj"):
        return {f"mlp.experts.down_proj.{kind}": values if is_bias else values.swapaxes(1, 2)}
    return {rest.replace("mlp.router", "mlp.gate").replace("sinks", "sinks.weight"): values}


def with_blocks(tensors: Tensors, seed: int) -> tuple[Tensors, Tensors]:
    """The tensors with random 4-bit experts as published, and the same with their values."""
    packed, plain = dict(tensors), dict(tensors)
    for name in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj"))]:
        if ".experts." not in name:
            continue
        count, columns, rows = tensors[name].shape
        groups = columns // 32
        blocks = stream(f"{seed}/{name}", count * rows * groups * 2).view(np.uint8)
        blocks = blocks.reshape(count, rows, groups, 16)
        noise = stream(f"{seed}/{name}/scales", count * rows * groups) % np.uint64(4)
        scales = (noise + np.uint64(121)).astype(np.uint8).reshape(count, rows, groups)
        codes = np.stack([blocks & np.uint8(15), blocks >> np.uint8(4)], axis=-1)
        values = VALUES[codes.reshape(count, rows, groups, 32)]
        powers = np.ldexp(np.float32(1), scales.astype(np.int32) - 127)
        values = (values * powers[..., None]).reshape(count, rows, columns)
        plain[name] = np.ascontiguousarray(values.swapaxes(1, 2))
        del packed[name]
        packed |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
    return packed, plain
