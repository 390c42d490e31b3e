"""DeepSeek-V3.2: V3 whose attention sees only the positions that an index chooses."""

from __future__ import annotations

from wazn.models.blocks import Layer, rope
from wazn.models.config import Config
from wazn.models.deepseek import DeepseekV3
from wazn.models.latent import Index, select
from wazn.models.latent_config import IndexConfig
from wazn.models.recorder import Rotation, Tensor

_INDEX_EPS = 1e-6  # of the index keys' norm


class DeepseekV32(DeepseekV3):
    """DeepSeek-V3.2 and V3.2-Exp: a light index scores all positions for each query, and latent
    attention is among the 2048 best (DeepSeek-AI 2025). Up to so many, it is V3."""

    huggingface_types = ("deepseek_v32",)
    gguf_architecture = "deepseek32"
    facts = ("latent", "latent.index")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        assert config.latent is not None and config.latent.index is not None, "read for it"
        self.index: IndexConfig = config.latent.index

    def selected(self, h: Tensor, compressed: Tensor, layer: Layer) -> Tensor:
        rotation = Rotation(self.latent.rotary, interleaved=False)  # the first of a head
        query = layer.linear("self_attn.indexer.wq_b")(compressed)  # (tokens, heads * dim)
        key = layer.linear("self_attn.indexer.wk")(h)  # (tokens, dim), of all heads
        weights = layer.linear("self_attn.indexer.weights_proj")(h)  # (tokens, heads)
        query = rope(query, self.index.heads, rotation)
        key = rope(layer.layer_norm("self_attn.indexer.k_norm", _INDEX_EPS)(key), 1, rotation)
        scale = (self.index.dim * self.index.heads) ** -0.5
        return select(Index(query, key, weights), self.index.top_k, scale)
