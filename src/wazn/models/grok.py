"""Grok-1 and Grok-2."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import ClassVar

from wazn.errors import BadFile
from wazn.models.attention import AttentionKind
from wazn.models.blocks import Layer, gelu_tanh, scaled
from wazn.models.config import Config
from wazn.models.grok_config import HUGGINGFACE, GrokConfig
from wazn.models.llama import Llama
from wazn.models.recorder import Gate, Tensor
from wazn.weights.arranged import Arrangement, Beside, Rows
from wazn.weights.container import TensorInfo
from wazn.weights.ranks import name_and_rank
from wazn.weights.stacked import Piece

_EXPERT = re.compile(
    r"model\.layers\.(\d{1,6})\.block_sparse_moe\.experts\.(\d{1,5})\.(w[123])\.weight"
)
_GELU = Gate("gelu_tanh")


class Grok(Llama):
    """Grok-1 and Grok-2: norms before and after attention and experts, scores and logits with soft
    caps, experts gated by GELU; in Grok-2 beside an ordinary network (xAI 2024 and 2025)."""

    huggingface_types = HUGGINGFACE
    gguf_architecture = "grok"
    gguf_rope_interleaved = False
    has_experts = True
    facts: ClassVar[tuple[str, ...]] = ("grok",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        assert config.grok is not None, "read for this family"
        self.grok: GrokConfig = config.grok

    def start(self, x: Tensor) -> Tensor:
        return scaled(x, self.grok.embedding_scale)

    def block(self, x: Tensor, layer: Layer) -> Tensor:
        h = self.attention(layer.norm("input_layernorm")(x), layer)
        x = x + layer.norm("post_attn_norm")(h)
        h = self.feed_forward(layer.norm("post_attention_layernorm")(x), layer)
        return x + layer.norm("post_moe_norm")(h)

    def kind(self, layer: Layer) -> AttentionKind:
        return AttentionKind(
            softcap=self.grok.score_cap or None,
            scale=self.grok.score_scale,
            is_tempered=self.grok.temperature is not None,
        )

    def feed_forward(self, h: Tensor, layer: Layer) -> Tensor:
        experts, router = layer.experts("mlp.experts"), layer.router("mlp.gate")
        is_residual = self.grok.is_residual
        if is_residual is None:
            is_residual = layer.has("mlp.up_proj.weight")
        if not is_residual:
            return experts(h, router(h), _GELU)
        y = self.mlp(h, layer)
        return scaled(y + experts(h, router(h), _GELU), math.sqrt(0.5))

    def network(self, h: Tensor, layer: Layer, name: str) -> Tensor:
        gate = layer.linear(f"{name}.gate_proj")(h)  # (tokens, intermediate)
        up = layer.linear(f"{name}.up_proj")(h)
        return layer.linear(f"{name}.down_proj")(gelu_tanh(gate) * up)

    def shape_logits(self, logits: Tensor) -> Tensor:
        return scaled(logits, self.grok.logit_scale, self.grok.logit_cap)

    @classmethod
    def apart(cls, tensors: Mapping[str, TensorInfo]) -> dict[str, Arrangement]:
        """The matrices of experts that are divided among ranks (Grok-2 as published): gate and up
        by rows, down by columns."""
        parts: dict[str, dict[int, TensorInfo]] = defaultdict(dict)
        for name, info in tensors.items():
            divided = name_and_rank(name)
            if divided is not None and _EXPERT.fullmatch(divided[0]) and len(info.shape) == 2:
                parts[divided[0]][divided[1]] = info
        ranks = max((max(found) + 1 for found in parts.values()), default=0)
        made: dict[str, Arrangement] = {}
        for name, found in parts.items():
            if missing := sorted(set(range(ranks)) - found.keys()):
                raise BadFile(
                    f"tensor {name} has no part of rank {missing[0]} where the model has {ranks} "
                    "ranks; fetch it again"
                )
            infos = [found[rank] for rank in range(ranks)]
            if name.endswith("w2.weight"):
                made[name] = Beside([info.name for info in infos])
            else:
                made[name] = Rows([Piece(info.name, 0, info.rows) for info in infos])
        return made
