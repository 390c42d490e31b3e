"""DeepSeek-V2 and V3: latent attention, and experts chosen group by group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from wazn.models.blocks import Layer, rope, silu
from wazn.models.config import Config
from wazn.models.decoder import Arrangements, Decoder
from wazn.models.latent import Latents, attend_latent
from wazn.models.latent_config import LatentConfig
from wazn.models.recorder import Tensor
from wazn.weights.arranged import Arrangement, Rows, Transposed, runs
from wazn.weights.container import TensorInfo

_LATENT_EPS = 1e-6  # of the norms of compressed queries and latent vectors, in every checkpoint


class DeepseekV2(Decoder):
    """DeepSeek-V2, V2.5, V2-Lite, Coder-V2: pre-norm, latent attention, experts besides one shared
    network, an ordinary network in the first layers (DeepSeek-AI 2024)."""

    huggingface_types = ("deepseek_v2",)
    gguf_architecture = "deepseek2"
    gguf_rope_interleaved = True
    has_experts = True
    facts: ClassVar[tuple[str, ...]] = ("latent",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        assert config.latent is not None, "read for these families"
        self.latent: LatentConfig = config.latent

    def block(self, x: Tensor, layer: Layer) -> Tensor:
        x = x + self.attention(layer.norm("input_layernorm")(x), layer)
        h = layer.norm("post_attention_layernorm")(x)
        if not layer.has_experts:
            return x + self.network(h, layer, "mlp")
        x = x + layer.experts("mlp.experts")(h, layer.router("mlp.gate")(h))
        return x + self.network(h, layer, "mlp.shared_expert")

    def attention(self, h: Tensor, layer: Layer) -> Tensor:
        compressed = self.compressed_query(h, layer)
        plain = layer.linear("self_attn.q_plain_proj")(compressed)  # (tokens, heads * plain)
        rotary = layer.linear("self_attn.q_rotary_proj")(compressed)  # (tokens, heads * rotary)
        latent = layer.linear("self_attn.latent_proj")(h)  # (tokens, rank)
        key = layer.linear("self_attn.k_rotary_proj")(h)  # (tokens, rotary), of all heads
        cached = Latents(layer.norm("self_attn.kv_a_layernorm", _LATENT_EPS)(latent), rope(key, 1))
        query = layer.per_head("self_attn.k_b_proj")(plain)  # (tokens, heads * rank)
        rotary = rope(rotary, self.config.num_heads)
        selected = self.selected(h, compressed, layer)
        gathered = attend_latent(query, rotary, cached, self.latent.scale, selected)
        value = layer.per_head("self_attn.v_b_proj")(gathered)  # (tokens, heads * value)
        return layer.linear("self_attn.o_proj")(value)

    def selected(self, h: Tensor, compressed: Tensor, layer: Layer) -> Tensor | None:
        """The positions that attention is limited to, if it is."""
        return None

    def compressed_query(self, h: Tensor, layer: Layer) -> Tensor:
        if self.latent.query_rank is None:
            return h
        compressed = layer.linear("self_attn.q_a_proj")(h)
        return layer.norm("self_attn.q_a_layernorm", _LATENT_EPS)(compressed)

    def network(self, h: Tensor, layer: Layer, name: str) -> Tensor:
        gate = layer.linear(f"{name}.gate_proj")(h)
        up = layer.linear(f"{name}.up_proj")(h)
        return layer.linear(f"{name}.down_proj")(silu(gate) * up)

    def arrange(self, tensors: Mapping[str, TensorInfo]) -> Arrangements:
        """Projections that files fuse head by head, apart; matrices of keys transposed."""
        arranged: dict[str, Arrangement] = {}
        replaced: set[str] = set()
        for name, new, arrangement in self._arranged(tensors):
            arranged[new] = arrangement
            replaced.add(name)
        return Arrangements(arranged, frozenset(replaced))

    def _arranged(
        self, tensors: Mapping[str, TensorInfo]
    ) -> Iterator[tuple[str, str, Arrangement]]:
        latent, heads = self.latent, self.config.num_heads
        for name, info in tensors.items():
            stem, _, kind = name.rpartition(".")
            start, _, module = stem.rpartition(".")
            match module:
                case "q_proj" | "q_b_proj":
                    plain, rotary = runs(info, heads, (latent.plain, latent.rotary))
                    yield name, f"{start}.q_plain_proj.{kind}", Rows(plain)
                    yield name, f"{start}.q_rotary_proj.{kind}", Rows(rotary)
                case "kv_a_proj_with_mqa":
                    first, second = runs(info, 1, (latent.rank, latent.rotary))
                    yield name, f"{start}.latent_proj.{kind}", Rows(first)
                    yield name, f"{start}.k_rotary_proj.{kind}", Rows(second)
                case "kv_b_proj":
                    keys, values = runs(info, heads, (latent.plain, latent.value))
                    yield name, f"{start}.k_b_proj.{kind}", Transposed(keys)
                    yield name, f"{start}.v_b_proj.{kind}", Rows(values, heads)


class DeepseekV3(DeepseekV2):
    """DeepSeek-V3, R1, V3.1: V2 with a router of sigmoids and a bias for the choice
    (DeepSeek-AI 2024)."""

    huggingface_types = ("deepseek_v3",)
