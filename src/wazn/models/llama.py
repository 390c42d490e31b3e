"""Llama and the models with its block."""

from typing import ClassVar

from wazn.models.attention import AttentionKind
from wazn.models.blocks import Layer, attend, rope, silu
from wazn.models.decoder import Decoder
from wazn.models.recorder import Tensor


class Llama(Decoder):
    """Llama 2 and 3.x, SmolLM2, R1-Distill-Llama, Mistral 7B: pre-norm, grouped-query attention,
    SwiGLU (Touvron 2023, Meta 2024), in the first Mistral over a window (Jiang 2023)."""

    huggingface_types: ClassVar[tuple[str, ...]] = ("llama", "mistral")
    gguf_architecture = "llama"
    gguf_rope_interleaved = True

    def block(self, x: Tensor, layer: Layer) -> Tensor:
        x = x + self.attention(layer.norm("input_layernorm")(x), layer)
        return x + self.mlp(layer.norm("post_attention_layernorm")(x), layer)

    def attention(self, h: Tensor, layer: Layer) -> Tensor:
        q = layer.linear("self_attn.q_proj")(h)  # (tokens, heads * head_dim)
        k = layer.linear("self_attn.k_proj")(h)  # (tokens, kv_heads * head_dim)
        v = layer.linear("self_attn.v_proj")(h)
        q, k = rope(q, self.config.num_heads), rope(k, self.config.num_kv_heads)
        return layer.linear("self_attn.o_proj")(attend(q, k, v, self.config, self.kind(layer)))

    def kind(self, layer: Layer) -> AttentionKind:
        """What is special about a layer's attention."""
        return AttentionKind(window=self.config.window(layer.index))

    def mlp(self, h: Tensor, layer: Layer) -> Tensor:
        return self.network(h, layer, "mlp")

    def network(self, h: Tensor, layer: Layer, name: str) -> Tensor:
        gate = layer.linear(f"{name}.gate_proj")(h)  # (tokens, intermediate)
        up = layer.linear(f"{name}.up_proj")(h)
        return layer.linear(f"{name}.down_proj")(silu(gate) * up)
