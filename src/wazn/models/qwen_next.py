"""Qwen3-Next, Qwen3.5 and later: three layers of linear attention to one of ordinary attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.models.blocks import Layer, attend, rope, sigmoid, silu
from wazn.models.config import Config
from wazn.models.decoder import Arrangements
from wazn.models.delta_config import DeltaConfig
from wazn.models.qwen_moe import Qwen2Moe
from wazn.models.recorder import Rotation, Tensor
from wazn.models.recurrent import (
    CausalConvolution,
    Delta,
    DeltaGates,
    Heads,
    delta_rule,
    unit_length,
)
from wazn.weights.arranged import Arrangement, Flat, Rows, runs
from wazn.weights.container import TensorInfo


class Qwen3Next(Qwen2Moe):
    """Qwen3-Next, Qwen3-Coder-Next: gated delta nets and gated attention over a quarter-rotated
    head, experts besides a gated one that all tokens share (Qwen team 2025)."""

    huggingface_types: ClassVar[tuple[str, ...]] = ("qwen3_next",)
    gguf_architecture = "qwen3next"
    facts = ("delta",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        assert config.delta is not None, "read for these families"
        self.delta: DeltaConfig = config.delta

    def block(self, x: Tensor, layer: Layer) -> Tensor:
        h = layer.norm("input_layernorm")(x)
        is_full = self.delta.full_layers[layer.index]
        x = x + (self.attention(h, layer) if is_full else self.memory(h, layer))
        return self.feed_forward(x, layer)

    def attention(self, h: Tensor, layer: Layer) -> Tensor:
        num_heads, num_kv_heads = self.config.num_heads, self.config.num_kv_heads
        q = layer.linear("self_attn.query_proj")(h)  # (tokens, heads * head_dim)
        gate = layer.linear("self_attn.gate_proj")(h)
        k = layer.linear("self_attn.k_proj")(h)  # (tokens, kv_heads * head_dim)
        v = layer.linear("self_attn.v_proj")(h)
        rotation = Rotation(self.config.rotary_dim or self.config.head_dim, interleaved=False)
        q = rope(layer.norm("self_attn.q_norm")(q, num_heads), num_heads, rotation)
        k = rope(layer.norm("self_attn.k_norm")(k, num_kv_heads), num_kv_heads, rotation)
        return layer.linear("self_attn.o_proj")(sigmoid(gate) * attend(q, k, v, self.config))

    def memory(self, h: Tensor, layer: Layer) -> Tensor:
        q, k, v, z, a, b = (layer.linear(f"linear_attn.{name}_proj")(h) for name in "qkvzab")
        at_q, at_k, at_v = self._convolutions(layer)
        heads = Heads(self.delta.key_heads, self.delta.value_heads, self.delta.tiled)
        q = unit_length(at_q(q), heads.keys, self.delta.key_dim**-0.5)
        k = unit_length(at_k(k), heads.keys)
        read = delta_rule(Delta(q, k, at_v(v), a, b), self._gates(layer), heads)
        read = layer.norm("linear_attn.norm", offset=0.0)(read, heads.values)
        return layer.linear("linear_attn.out_proj")(silu(z) * read)

    def _gates(self, layer: Layer) -> DeltaGates:
        """Hugging Face files have the logarithm of what GGUF files have with its sign."""
        bias = layer.vector("linear_attn.dt_bias")
        if layer.has("linear_attn.A"):
            return DeltaGates(layer.vector("linear_attn.A"), bias)
        return DeltaGates(-np.exp(layer.vector("linear_attn.A_log")), bias)

    def _convolutions(self, layer: Layer) -> list[CausalConvolution]:
        """Those of queries, keys and values, which the checkpoint has one below the other."""
        name, size = "linear_attn.conv1d.weight", self.delta.conv_size
        weight: NDArray[np.float32] = layer.vector(name)
        keys = self.delta.key_heads * self.delta.key_dim
        columns = 2 * keys + self.delta.value_heads * self.delta.value_dim
        if len(weight) != columns * size:
            raise BadFile(f"tensor {name} has {len(weight)} elements, not {columns} x {size}")
        parts = np.split(weight.reshape(columns, size).T, [keys, 2 * keys], axis=1)
        return [CausalConvolution(name, part) for part in parts]

    def arrange(self, tensors: Mapping[str, TensorInfo]) -> Arrangements:
        """Projections that files fuse, apart; the convolution's weights as a vector."""
        found = list(self._arranged(tensors))
        return Arrangements(
            {new: arrangement for _, new, arrangement in found},
            frozenset(name for name, new, _ in found if name != new),
        )

    def _arranged(
        self, tensors: Mapping[str, TensorInfo]
    ) -> Iterator[tuple[str, str, Arrangement]]:
        delta, head_dim = self.delta, self.config.head_dim
        ratio = delta.value_heads // delta.key_heads
        keys, values = delta.key_heads * delta.key_dim, delta.value_heads * delta.value_dim
        share = delta.key_dim, delta.key_dim, ratio * delta.value_dim, ratio * delta.value_dim
        fused = {  # module: heads, sizes of a head's parts, and their names
            "self_attn.q_proj": (self.config.num_heads, (head_dim, head_dim), ("query", "gate")),
            "in_proj_qkvz": (delta.key_heads, share, "qkvz"),
            "in_proj_qkv": (1, (keys, keys, values), "qkv"),
            "in_proj_z": (1, (values,), "z"),
            "in_proj_ba": (delta.key_heads, (ratio, ratio), "ba"),
            "in_proj_b": (1, (delta.value_heads,), "b"),
            "in_proj_a": (1, (delta.value_heads,), "a"),
        }
        for name, info in tensors.items():
            stem, _, kind = name.rpartition(".")
            for module, (heads, sizes, names) in fused.items():
                if stem.endswith(f".{module}"):
                    start = stem[: -len(module.rpartition(".")[2])]
                    for part, pieces in zip(names, runs(info, heads, sizes), strict=True):
                        yield name, f"{start}{part}_proj.{kind}", Rows(pieces)
            if stem.endswith("linear_attn.conv1d"):
                yield name, name, Flat(info.name)


class Qwen35Moe(Qwen3Next):
    """Qwen3.5, 3.6 and 3.8 with experts: Qwen3-Next with other files (Qwen team 2026)."""

    huggingface_types = ("qwen3_5_moe", "qwen3_5_moe_text")
    gguf_architecture = "qwen35moe"


class Qwen35(Qwen3Next):
    """Qwen3.5, 3.6 and 3.8 without experts: an ordinary SwiGLU network (Qwen team 2026)."""

    huggingface_types = ("qwen3_5", "qwen3_5_text")
    gguf_architecture = "qwen35"
    has_experts = False

    def feed_forward(self, x: Tensor, layer: Layer) -> Tensor:
        return x + self.mlp(layer.norm("post_attention_layernorm")(x), layer)
