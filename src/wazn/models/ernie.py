"""ERNIE 4.5, dense and with a mixture of experts."""

from collections.abc import Mapping
from typing import Any, ClassVar

from wazn.models.blocks import Layer
from wazn.models.decoder import Arrangements
from wazn.models.llama import Llama
from wazn.models.recorder import Tensor
from wazn.weights.arranged import Arrangement, Flat
from wazn.weights.container import TensorInfo

_DEFAULTS = {"rope_theta": 500000.0, "tie_word_embeddings": True}


class Ernie45(Llama):
    """ERNIE-4.5-0.3B: the Llama block (Baidu 2025)."""

    huggingface_types = ("ernie4_5",)
    huggingface_defaults: ClassVar[Mapping[str, Any]] = {**_DEFAULTS, "head_dim": 128}
    gguf_architecture = "ernie4_5"


class Ernie45Moe(Llama):
    """ERNIE-4.5-21B-A3B, 300B-A47B: experts chosen by softmax plus a bias, in the smaller model
    besides one network that all tokens share; an ordinary network in the first layers
    (Baidu 2025)."""

    huggingface_types = ("ernie4_5_moe",)
    huggingface_defaults: ClassVar[Mapping[str, Any]] = {
        **_DEFAULTS,
        "moe_layer_start_index": 1,
        "moe_num_shared_experts": 2,
    }
    gguf_architecture = "ernie4_5-moe"
    has_experts = True

    def block(self, x: Tensor, layer: Layer) -> Tensor:
        x = x + self.attention(layer.norm("input_layernorm")(x), layer)
        h = layer.norm("post_attention_layernorm")(x)
        if not layer.has_experts:
            return x + self.mlp(h, layer)
        x = x + layer.experts("mlp.experts")(h, layer.router("mlp.gate")(h))
        return x + self.network(h, layer, "mlp.shared_expert") if self.experts.shared else x

    def arrange(self, tensors: Mapping[str, TensorInfo]) -> Arrangements:
        """The biases of the choice, which files keep as matrices of one row, as vectors."""
        biases: dict[str, Arrangement] = {
            name: Flat(info.name)
            for name, info in tensors.items()
            if name.endswith("e_score_correction_bias")
        }
        return Arrangements(biases, frozenset(biases))
