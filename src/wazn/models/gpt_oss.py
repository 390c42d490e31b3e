"""gpt-oss (OpenAI 2025)."""

import re
from collections.abc import Mapping
from typing import ClassVar

from wazn.models.attention import AttentionKind
from wazn.models.blocks import Layer
from wazn.models.decoder import Arrangements
from wazn.models.expert_stacks import whole
from wazn.models.llama import Llama
from wazn.models.recorder import Gate, Tensor
from wazn.weights.arranged import ALL, Arrangement, Columns, Flat, Transposed
from wazn.weights.container import TensorInfo

_FUSED = re.compile(r"(model\.layers\.\d{1,6}\.mlp\.experts)\.(gate_up|down)_proj(_bias)?")
_MATRICES = ("gate", "up", "down")
_PARTS = {
    "gate_up": {"gate": Columns(0, None, 2), "up": Columns(1, None, 2)},
    "down": {"down": ALL},
}


class GptOss(Llama):
    """gpt-oss-20b and 120b: the Llama block with biases on q, k, v and o; attention with a sink for
    each head, over a window in every other layer; in place of the network many of them, with
    biases and a clamped gate, of which each token takes the 4 that the router gives the most, with
    the softmax of those 4 as their weights."""

    huggingface_types: ClassVar[tuple[str, ...]] = ("gpt_oss",)
    gguf_architecture = "gpt-oss"
    gguf_rope_interleaved = False
    has_experts = True

    def kind(self, layer: Layer) -> AttentionKind:
        window = self.config.window(layer.index)
        return AttentionKind(window=window, sinks=layer.vector("self_attn.sinks"))

    def mlp(self, h: Tensor, layer: Layer) -> Tensor:
        assert self.config.experts is not None, "opened with experts only"
        layer.require("mlp.gate.bias", *(f"mlp.experts.{m}_proj.bias" for m in _MATRICES))
        chosen = layer.router("mlp.gate")(h)  # (tokens, experts): which, and their weights
        gate = Gate("clamped", self.config.experts.limit)  # g * sigmoid(1.702 g) * (u + 1)
        return layer.experts("mlp.experts")(h, chosen, gate)

    @classmethod
    def apart(cls, tensors: Mapping[str, TensorInfo]) -> dict[str, Arrangement]:
        """Gate and up are the even and the odd columns of one stack (experts, in, out)."""
        found: dict[str, Arrangement] = {}
        for name, info in tensors.items():
            if match := _FUSED.fullmatch(name):
                experts, which, is_bias = match.groups()
                for part, columns in _PARTS[which].items():
                    stem = f"{experts}.{part}_proj"
                    if is_bias:
                        found[f"{stem}.bias"] = Flat(name, columns)
                    else:
                        found[f"{stem}.weight"] = Transposed(whole(info), columns)
        return found

    def arrange(self, tensors: Mapping[str, TensorInfo]) -> Arrangements:
        """The biases of all experts of a layer, rows of a table in GGUF, as one vector."""
        tables = [name for name, t in tensors.items() if ".experts." in name and "bias" in name]
        return Arrangements({n: Flat(tensors[n].name) for n in tables}, frozenset())
