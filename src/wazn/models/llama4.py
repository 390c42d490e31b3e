"""Llama 4, its text part."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from wazn.models.attention import AttentionKind
from wazn.models.blocks import Layer, Norm, attend, rope
from wazn.models.config import Config
from wazn.models.llama import Llama
from wazn.models.llama4_config import Llama4Config
from wazn.models.recorder import Tensor
from wazn.weights.arranged import Arrangement, Columns, Transposed
from wazn.weights.container import TensorInfo
from wazn.weights.stacked import Piece

_FUSED = re.compile(
    r"(?:language_model\.)?(model\.layers\.\d{1,6}\.)feed_forward\.(experts\.)(gate_up_proj|down_proj)"
)


class Llama4(Llama):
    """Llama 4 Scout and Maverick: most layers rotate queries and keys and see chunks of positions,
    every fourth sees all and does not rotate; of the experts each token takes one, besides a
    shared network (Meta 2025)."""

    huggingface_types = ("llama4_text",)
    huggingface_defaults: ClassVar[Mapping[str, Any]] = {"rope_theta": 500000.0, "head_dim": 128}
    gguf_architecture = "llama4"
    has_experts = True
    facts: ClassVar[tuple[str, ...]] = ("llama4",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        assert config.llama4 is not None, "read for this family"
        self.llama4: Llama4Config = config.llama4

    def block(self, x: Tensor, layer: Layer) -> Tensor:
        x = x + self.attention(layer.norm("input_layernorm")(x), layer)
        h = layer.norm("post_attention_layernorm")(x)
        if not layer.has_experts:
            return x + self.mlp(h, layer)
        x = x + layer.experts("mlp.experts")(h, layer.router("mlp.gate")(h))
        return x + self.network(h, layer, "mlp.shared_expert")

    def attention(self, h: Tensor, layer: Layer) -> Tensor:
        q = layer.linear("self_attn.q_proj")(h)  # (tokens, heads * head_dim)
        k = layer.linear("self_attn.k_proj")(h)  # (tokens, kv_heads * head_dim)
        v = layer.linear("self_attn.v_proj")(h)
        heads, kv_heads = self.config.num_heads, self.config.num_kv_heads
        is_rotated = self.llama4.rotated[layer.index]
        if is_rotated:
            q, k = rope(q, heads), rope(k, kv_heads)
        if is_rotated and self.llama4.normed:
            unit = Norm(np.ones(self.config.head_dim, np.float32), self.config.norm_eps)
            q, k = unit(q, heads), unit(k, kv_heads)
        how = AttentionKind(
            chunk=self.llama4.chunk if self.llama4.chunked[layer.index] else None,
            is_tempered=self.llama4.temperature is not None and not is_rotated,
        )
        return layer.linear("self_attn.o_proj")(attend(q, k, v, self.config, how))

    @classmethod
    def apart(cls, tensors: Mapping[str, TensorInfo]) -> dict[str, Arrangement]:
        """Experts' gate and up, which files keep side by side, and all matrices transposed."""
        found: dict[str, Arrangement] = {}
        for name, info in tensors.items():
            if (match := _FUSED.fullmatch(name)) is None or len(info.shape) != 3:
                continue
            count, rows, columns = info.shape
            pieces = [Piece(name, number * rows, rows) for number in range(count)]
            stem = f"{match[1]}mlp.{match[2]}"
            if match[3] == "down_proj":
                found[f"{stem}down_proj.weight"] = Transposed(pieces)
                continue
            found[f"{stem}gate_proj.weight"] = Transposed(pieces, Columns(0, columns // 2))
            found[f"{stem}up_proj.weight"] = Transposed(pieces, Columns(columns // 2, columns))
        return found
