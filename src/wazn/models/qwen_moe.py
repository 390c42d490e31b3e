"""Qwen2 and Qwen3 with a mixture of experts in place of the feed-forward network."""

from typing import ClassVar

from wazn.models.blocks import Layer, sigmoid, silu
from wazn.models.qwen import Qwen2, Qwen3
from wazn.models.recorder import Tensor


class Qwen3Moe(Qwen3):
    """Qwen3-30B-A3B, 235B-A22B, Qwen3-Coder: the Qwen3 block with 128 or more small SwiGLU
    networks, of which each token takes the 8 that the router gives the most (Qwen team 2025)."""

    huggingface_types = ("qwen3_moe",)
    gguf_architecture = "qwen3moe"
    has_experts = True

    def mlp(self, h: Tensor, layer: Layer) -> Tensor:
        chosen = layer.router("mlp.gate")(h)  # (tokens, experts): which, and their weights
        return layer.experts("mlp.experts")(h, chosen)


class Qwen2Moe(Qwen2):
    """Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B: the Qwen2 block with routed experts and one that all
    tokens share, times a gate of its own (Qwen team 2024)."""

    huggingface_types: ClassVar[tuple[str, ...]] = ("qwen2_moe",)
    gguf_architecture = "qwen2moe"
    has_experts = True

    def block(self, x: Tensor, layer: Layer) -> Tensor:
        x = x + self.attention(layer.norm("input_layernorm")(x), layer)
        return self.feed_forward(x, layer)

    def feed_forward(self, x: Tensor, layer: Layer) -> Tensor:
        h = layer.norm("post_attention_layernorm")(x)
        x = x + layer.experts("mlp.experts")(h, layer.router("mlp.gate")(h))
        gate = layer.linear("mlp.shared_expert_gate")(h)  # (tokens, 1)
        return x + sigmoid(gate) * self.shared_expert(h, layer)

    def shared_expert(self, h: Tensor, layer: Layer) -> Tensor:
        gate = layer.linear("mlp.shared_expert.gate_proj")(h)  # (tokens, shared intermediate)
        up = layer.linear("mlp.shared_expert.up_proj")(h)
        return layer.linear("mlp.shared_expert.down_proj")(silu(gate) * up)
