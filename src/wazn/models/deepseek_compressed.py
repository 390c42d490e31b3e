"""DeepSeek-V4: attention over a window and compressed rows, several streams of a residual."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wazn.errors import BadFile
from wazn.models.blocks import Layer, Linear, Norm, rope, silu
from wazn.models.compressed import Compressor, Seen, attend_window, compress, select_entries
from wazn.models.compressed_config import CompressedConfig
from wazn.models.config import Config
from wazn.models.decoder import Arrangements, Decoder
from wazn.models.recorder import Gate, Rotation, Tensor
from wazn.models.streams import HyperWeights, collapse, expand, repeat
from wazn.weights.arranged import Arrangement, Flat, Rows, runs
from wazn.weights.container import TensorInfo
from wazn.weights.packed import PackedWeights

_WINDOW_TABLE, _COMPRESS_TABLE = 0, 1  # of angles, in the order of Config.rope_tables


class DeepseekV4(Decoder):
    """DeepSeek-V4 Flash and Pro: one vector a position that is key and value, compressed rows of
    all before, chosen by an index in every other layer, and experts that in the first layers a
    token's id names (DeepSeek-AI 2026)."""

    huggingface_types = ("deepseek_v4",)
    gguf_architecture = None
    has_experts = True
    facts = ("compressed",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        assert config.compressed is not None, "read for this family"
        self.shape: CompressedConfig = config.compressed

    def start(self, x: Tensor) -> Tensor:
        return repeat(x, self.shape.hyper.streams)

    def block(self, x: Tensor, layer: Layer) -> Tensor:
        weights = self.stream_weights(x, layer, "attn_hc")
        h = layer.norm("input_layernorm")(collapse(x, weights, self.shape.hyper.streams))
        x = expand(x, weights, self.attention(h, layer))
        weights = self.stream_weights(x, layer, "ffn_hc")
        h = layer.norm("post_attention_layernorm")(collapse(x, weights, self.shape.hyper.streams))
        return expand(x, weights, self.network(h, layer))

    def stream_weights(self, x: Tensor, layer: Layer, name: str) -> Tensor:
        products = layer.linear(f"{name}.fn")(self._plain_norm(x.columns)(x))
        biases, scales = layer.vector(f"{name}.base"), layer.vector(f"{name}.scale")
        return HyperWeights(biases, scales, self.shape.hyper)(products)

    def finish(self, x: Tensor, weights: PackedWeights) -> Tensor:
        matrix = weights.matrix("model.hc_head.fn.weight")
        products = Linear("model.hc_head.fn", matrix, None)(self._plain_norm(x.columns)(x))
        biases, scales = (weights.vector(f"model.hc_head.{part}") for part in ("base", "scale"))
        of_streams = HyperWeights(biases, scales, self.shape.hyper)(products)
        return collapse(x, of_streams, self.shape.hyper.streams)

    def attention(self, h: Tensor, layer: Layer) -> Tensor:
        heads, table = self.config.num_heads, self._table(layer)
        rotation = Rotation(self.shape.rotary, interleaved=True, at_end=True, table=table)
        compressed = layer.norm("self_attn.q_a_layernorm")(layer.linear("self_attn.q_a_proj")(h))
        query = layer.linear("self_attn.q_b_proj")(compressed)  # (tokens, heads * head_dim)
        query = rope(self._plain_norm(self.config.head_dim)(query, heads), heads, rotation)
        vector = layer.norm("self_attn.kv_a_layernorm")(layer.linear("self_attn.kv_proj")(h))
        seen = self.seen(h, compressed, rope(vector, 1, rotation), layer)
        scale = float(self.config.head_dim) ** -0.5
        read = attend_window(query, seen, layer.vector("self_attn.sinks"), scale)
        read = rope(read, heads, rotation._replace(inverse=True))  # values were rotated, too
        return layer.linear("self_attn.o_b_proj")(layer.per_head("self_attn.o_a_proj")(read))

    def seen(self, h: Tensor, compressed: Tensor, vector: Tensor, layer: Layer) -> Seen:
        if not self.shape.rates[layer.index]:
            return Seen(vector, self.shape.window)
        entries = self.compressor(h, layer, "self_attn.compressor")
        if not self.shape.sparse[layer.index]:
            return Seen(vector, self.shape.window, entries)
        index = self.shape.index
        rotation = Rotation(self.shape.rotary, True, at_end=True, table=_COMPRESS_TABLE)
        keys = self.compressor(h, layer, "self_attn.indexer.compressor")
        query = layer.linear("self_attn.indexer.wq_b")(compressed)  # (tokens, heads * dim)
        query = rope(query, index.heads, rotation)
        weights = layer.linear("self_attn.indexer.weights_proj")(h)  # (tokens, heads)
        scale = float(index.dim * index.heads) ** -0.5
        selected = select_entries(query, weights, keys, index.top_k, scale)
        return Seen(vector, self.shape.window, entries, selected)

    def compressor(self, h: Tensor, layer: Layer, name: str) -> Tensor:
        values = layer.linear(f"{name}.wkv")(h)
        gates = layer.linear(f"{name}.wgate")(h)
        how = Compressor(
            rate=self.shape.rates[layer.index],
            overlaps=self.shape.sparse[layer.index],
            biases=layer.vector(f"{name}.ape"),
            weight=layer.vector(f"{name}.norm.weight"),
            eps=self.config.norm_eps,
            rotated=self.shape.rotary,
            table=_COMPRESS_TABLE,
        )
        return compress(values, gates, how)

    def network(self, h: Tensor, layer: Layer) -> Tensor:
        table = self._table_of_experts(layer) if self.shape.hashed[layer.index] else None
        chosen = layer.router("mlp.gate", table)(h)
        routed = layer.experts("mlp.experts")(h, chosen, Gate("silu", self.shape.limit))
        gate = layer.linear("mlp.shared_expert.gate_proj")(h)
        up = layer.linear("mlp.shared_expert.up_proj")(h)
        shared = silu(gate, self.shape.limit) * up
        return routed + layer.linear("mlp.shared_expert.down_proj")(shared)

    def arrange(self, tensors: Mapping[str, TensorInfo]) -> Arrangements:
        """The output projection by groups of heads; tables as vectors."""
        found: dict[str, Arrangement] = {}
        groups = self.shape.output_groups
        for name, info in tensors.items():
            if name.endswith("self_attn.o_a_proj.weight"):
                (pieces,) = runs(info, groups, (self.shape.output_rank,))
                found[name] = Rows(pieces, groups)
            elif name.endswith((".ape", "mlp.gate.tid2eid")):
                found[name] = Flat(info.name)
        return Arrangements(found, frozenset())

    def _table(self, layer: Layer) -> int:
        return _COMPRESS_TABLE if self.shape.rates[layer.index] else _WINDOW_TABLE

    def _plain_norm(self, columns: int) -> Norm:
        """A norm without weights."""
        return Norm(np.ones(columns, np.float32), self.config.norm_eps)

    def _table_of_experts(self, layer: Layer) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        assert self.config.experts is not None
        table, experts = layer.vector("mlp.gate.tid2eid"), self.config.experts
        is_valid = ((table >= 0) & (table < experts.count) & (table == np.floor(table))).all()
        if len(table) != self.config.vocab_size * experts.per_token or not is_valid:
            raise BadFile(
                f"layer {layer.index}: the table of experts has {len(table)} entries for "
                f"{self.config.vocab_size} tokens with {experts.per_token} experts each, or names "
                f"others than the {experts.count} there are"
            )
        return table.astype(np.int32)
