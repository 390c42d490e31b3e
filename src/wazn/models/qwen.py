"""Qwen2, Qwen2.5 and Qwen3 (dense)."""

from typing import ClassVar

from wazn.models.blocks import Layer, attend, rope
from wazn.models.llama import Llama
from wazn.models.recorder import Tensor


class Qwen2(Llama):
    """Qwen2, Qwen2.5, QwQ, R1-Distill-Qwen: the Llama block with biases on q, k and v, which the
    checkpoint brings (Qwen team 2024)."""

    huggingface_types: ClassVar[tuple[str, ...]] = ("qwen2",)
    gguf_architecture = "qwen2"
    gguf_rope_interleaved = False


class Qwen3(Llama):
    """Qwen3 dense, R1-0528-Qwen3-8B: the Llama block with q and k normed per head before the
    rotation (Qwen team 2025)."""

    huggingface_types = ("qwen3",)
    gguf_architecture = "qwen3"
    gguf_rope_interleaved = False

    def attention(self, h: Tensor, layer: Layer) -> Tensor:
        num_heads, num_kv_heads = self.config.num_heads, self.config.num_kv_heads
        q = layer.linear("self_attn.q_proj")(h)  # (tokens, heads * head_dim)
        k = layer.linear("self_attn.k_proj")(h)  # (tokens, kv_heads * head_dim)
        v = layer.linear("self_attn.v_proj")(h)
        q = rope(layer.norm("self_attn.q_norm")(q, num_heads), num_heads)
        k = rope(layer.norm("self_attn.k_norm")(k, num_kv_heads), num_kv_heads)
        return layer.linear("self_attn.o_proj")(attend(q, k, v, self.config, self.kind(layer)))
