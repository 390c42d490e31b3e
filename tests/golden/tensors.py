"""The weights of a tiny model, under their Hugging Face names, before any file exists.

Spreads are chosen so that the answers say something: attention scores a few units apart, biases as
large as what they are added to, logits with a standard deviation of about three.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tests.golden import later_shapes
from tests.golden.weights import normal

Config: TypeAlias = Mapping[str, Any]
Tensors: TypeAlias = dict[str, NDArray[np.float32]]

_GAINS = {"q_proj": 1.6, "k_proj": 1.6, "o_proj": 3.0, "gate_proj": 1.5, "down_proj": 3.0}
_ROUTER_GAIN = 2.0  # a choice of experts that is rarely a close one
_LOGIT_STD = 3.0
QKV_BIAS = ("qwen2", "qwen2_moe")


def head_dim(config: Config) -> int:
    """The size of one head: stated, or hidden / heads."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor of the checkpoint, in file order: name → shape, rows first."""
    hidden = config["hidden_size"]
    queries = config["num_attention_heads"] * head_dim(config)
    keys = config["num_key_value_heads"] * head_dim(config)
    family = config["model_type"]
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden)
    }
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}."
        found[layer + "input_layernorm.weight"] = (hidden,)
        if later_shapes.has_shapes(config):
            own = later_shapes.layer_shapes(config, index)
            found |= {layer + name: shape for name, shape in own.items()}
            found[layer + "post_attention_layernorm.weight"] = (hidden,)
            continue
        for name, rows, columns in (
            ("q", queries, hidden),
            ("k", keys, hidden),
            ("v", keys, hidden),
            ("o", hidden, queries),
        ):
            found[f"{layer}self_attn.{name}_proj.weight"] = (rows, columns)
            has_bias = config.get("attention_out_bias", config.get("attention_bias"))
            if name != "o":
                has_bias = config.get("attention_bias") or family in QKV_BIAS
            if has_bias:
                found[f"{layer}self_attn.{name}_proj.bias"] = (rows,)
        if family in ("qwen3", "qwen3_moe"):
            found[layer + "self_attn.q_norm.weight"] = (head_dim(config),)
            found[layer + "self_attn.k_norm.weight"] = (head_dim(config),)
        found[layer + "post_attention_layernorm.weight"] = (hidden,)
        found |= {layer + name: shape for name, shape in _feed_forward(config).items()}
    found["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (config["vocab_size"], hidden)
    return later_shapes.renamed(config, found)


def _feed_forward(config: Config) -> dict[str, tuple[int, ...]]:
    """The tensors of a layer's feed-forward network, or of its router and experts."""
    hidden = config["hidden_size"]
    if not config["model_type"].endswith("_moe"):
        found = _network("mlp.", hidden, config["intermediate_size"])
        if config.get("mlp_bias"):
            found |= {name.replace("weight", "bias"): shape[:1] for name, shape in found.items()}
        return found
    found = {"mlp.gate.weight": (config["num_experts"], hidden)}
    for expert in range(config["num_experts"]):
        found |= _network(f"mlp.experts.{expert}.", hidden, config["moe_intermediate_size"])
    if config["model_type"] == "qwen2_moe":
        width = config["shared_expert_intermediate_size"]
        found |= _network("mlp.shared_expert.", hidden, width)
        found["mlp.shared_expert_gate.weight"] = (1, hidden)
    return found


def _network(prefix: str, hidden: int, width: int) -> dict[str, tuple[int, ...]]:
    shapes = {"gate": (width, hidden), "up": (width, hidden), "down": (hidden, width)}
    return {f"{prefix}{name}_proj.weight": shape for name, shape in shapes.items()}


def draw(config: Config, seed: int) -> Tensors:
    """All weights in float32, a function of ``seed`` and each tensor's name."""
    if "tid2eid" in "".join(shapes(config)):
        return _with_tables(config, seed)
    return _draw_all(config, seed)


def _with_tables(config: Config, seed: int) -> Tensors:
    """With different experts for each token id in the tables of DeepSeek-V4."""
    tensors = _draw_all(config, seed)
    for name in [name for name in tensors if name.endswith("tid2eid")]:
        noise = normal(f"{seed}/{name}", (config["vocab_size"], config["n_routed_experts"]), 1.0)
        order = np.argsort(noise, axis=1, kind="stable")[:, : config["num_experts_per_tok"]]
        tensors[name] = order.astype(np.float32)
    return tensors


def _draw_all(config: Config, seed: int) -> Tensors:
    is_centred = config["model_type"].startswith(("qwen3_next", "qwen3_5"))  # norms around 0
    return {
        name: _draw_one(f"{seed}/{name}", shape)
        - np.float32(is_centred and name.endswith("norm.weight") and "linear_attn" not in name)
        for name, shape in shapes(config).items()
    }


def _draw_one(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if name.endswith("sinks"):
        return normal(name, shape, 2.0)
    if name.endswith(("_base", "_scale", "attn_sink", ".ape")):
        return normal(name, shape, 0.7) + np.float32(name.endswith("_scale"))
    if "moe_statics" in name:
        return normal(name, shape, 0.1)  # of the size of a probability
    if name.endswith(("A_log", "dt_bias", "e_score_correction_bias")):
        return normal(name, shape, 0.3 if name.endswith("bias") else 0.7)
    if name.endswith("norm.weight"):
        middle = 1.5 if name.endswith(("q_norm.weight", "k_norm.weight")) else 1.0
        return middle + normal(name, shape, 0.25)
    return normal(name, shape, spread(name, shape))


def spread(name: str, shape: tuple[int, ...]) -> float:
    """The standard deviation of a matrix or bias."""
    if name.endswith((".bias", "proj_bias")):
        return 0.7
    if name.endswith("feed_forward.experts.down_proj"):
        return _GAINS["down_proj"] / math.sqrt(shape[1])
    if name.endswith("mlp.experts.gate_up_proj"):  # so that gpt-oss' limit of 7 is reached
        return 2.5 / math.sqrt(shape[1])
    if name.endswith(("embed_tokens.weight", "lm_head.weight", "embed.weight", "head.weight")):
        return _LOGIT_STD / math.sqrt(shape[1])
    if name.endswith(
        (
            "mlp.gate.weight",
            "ffn.gate.weight",
            ".router.weight",
            "_moe.gate.weight",
            "_block.gate.weight",
        )
    ):
        return _ROUTER_GAIN / math.sqrt(shape[1])
    module = name.split(".")[-2] if "." in name else name
    return _GAINS.get(module, 1.0) / math.sqrt(shape[1])
