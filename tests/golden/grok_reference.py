"""Grok in plain NumPy, float64: the formulas of the published sources, written independently.

transformers does not have it. Grok-1 is xAI's release of 2024 (JAX), Grok-2 what the makers' own
engine computes: the release with a cap on the router's products, a temperature of attention, an
ordinary network beside the experts, and a cap on logits. One pass over a whole sequence.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden.grok_files import canonical

Array = NDArray[np.float64]


class GrokReference:
    """``tensors`` under the names of either kind of files, matrices (out, in)."""

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        self.config = config
        self.tensors = {canonical(name): np.array(x, np.float64) for name, x in tensors.items()}
        self.heads: int = config["num_attention_heads"]
        self.kv_heads: int = config["num_key_value_heads"]
        self.size: int = config.get("head_dim") or config["hidden_size"] // self.heads

    def logits(self, token_ids: Sequence[int]) -> Array:
        """(tokens, vocabulary)."""
        embedding = self.tensors["model.embed_tokens.weight"]
        x = embedding[list(token_ids)] * self.config["embedding_multiplier_scale"]
        for layer in range(self.config["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            h = self.norm(x, f"{prefix}input_layernorm")
            x = x + self.norm(self.attention(h, prefix), f"{prefix}post_attn_norm")
            h = self.norm(x, f"{prefix}post_attention_layernorm")
            x = x + self.norm(self.feed_forward(h, prefix), f"{prefix}post_moe_norm")
        head = self.tensors.get("lm_head.weight", embedding)
        logits = self.norm(x, "model.norm") @ head.T * self.config["output_multiplier_scale"]
        return capped(logits, self.config.get("final_logit_softcapping"))

    def norm(self, x: Array, name: str) -> Array:
        mean_square = (x**2).mean(axis=-1, keepdims=True)
        scaled: Array = x / np.sqrt(mean_square + self.config["rms_norm_eps"])
        return scaled * self.tensors[f"{name}.weight"]

    def attention(self, h: Array, prefix: str) -> Array:
        length, size = len(h), self.size
        q, k, v = (
            (h @ self.tensors[f"{prefix}self_attn.{n}_proj.weight"].T).reshape(length, -1, size)
            for n in "qkv"
        )
        q, k = self.rotated(q), self.rotated(k)
        group = self.heads // self.kv_heads
        out = np.empty((length, self.heads, size))
        scale = self.config.get("attn_output_multiplier", size**-0.5)
        cap = self.config.get("attn_logit_softcapping", self.config.get("max_attn_value", 30.0))
        future = np.triu(np.ones((length, length), bool), 1)
        for head in range(self.heads):
            scores = capped(q[:, head] @ k[:, head // group].T * scale, cap)
            scores = scores * self.temperatures(length)[:, None]
            out[:, head] = softmax(np.where(future, -np.inf, scores)) @ v[:, head // group]
        made: Array = out.reshape(length, -1) @ self.tensors[f"{prefix}self_attn.o_proj.weight"].T
        return made

    def rotated(self, x: Array) -> Array:
        """Pairs of a number of a head's first half with one of its second."""
        half = self.size // 2
        frequencies = float(self.config["rope_theta"]) ** (-np.arange(half) / half)
        angles = np.arange(len(x))[:, None] * frequencies
        cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def temperatures(self, length: int) -> Array:
        start = self.config.get("attn_temperature_len") or -1
        positions = np.arange(length, dtype=np.float64)
        if start <= 0:
            return np.ones(length)
        return np.where(positions > start, np.log2(np.maximum(positions, 1)) / np.log2(start), 1.0)

    def feed_forward(self, h: Array, prefix: str) -> Array:
        products = h @ self.tensors[f"{prefix}mlp.gate.weight"].T
        default = 30.0 if self.config["model_type"] == "git" else None
        shares = softmax(capped(products, self.config.get("router_logit_softcapping", default)))
        mixture = np.zeros_like(h)
        chosen = np.argsort(-shares, axis=1, kind="stable")[:, : self.config["num_experts_per_tok"]]
        for row, experts in enumerate(chosen):
            for expert in experts:
                made = self.network(h[row], f"{prefix}mlp.experts.{expert}.")
                mixture[row] += shares[row, expert] * made
        if not self.config.get("residual_moe"):
            return mixture
        both: Array = self.network(h, f"{prefix}mlp.") + mixture
        halved: Array = both / np.sqrt(2)
        return halved

    def network(self, h: Array, prefix: str) -> Array:
        gate, up, down = (self.tensors[f"{prefix}{n}_proj.weight"] for n in ("gate", "up", "down"))
        made: Array = (gelu(h @ gate.T) * (h @ up.T)) @ down.T
        return made


def capped(x: Array, cap: float | None) -> Array:
    return cap * np.tanh(x / cap) if cap else x


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def gelu(x: Array) -> Array:
    """By tanh, as JAX has it unless told otherwise."""
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    made: Array = x / 2 * (1 + np.tanh(inner))
    return made


def read_grok(folder: Path) -> GrokReference:
    """The model of a directory with one file of float32 tensors."""
    config = json.loads((folder / "config.json").read_text())
    raw = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, stop = (8 + size + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(raw[start:stop], "<f4").reshape(entry["shape"])
    return GrokReference(config, tensors)
