"""What all decoder-only families share: embedding, a stack of blocks, final norm, vocabulary head.

Segments, which can be run by range: ``embed``, ``block 0`` …, ``norm`` (of the wanted rows),
``head`` (logits of those), ``hidden`` (their normed states as the result).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from wazn.models.blocks import Layer, Linear, Norm, embed, emit, wanted_rows
from wazn.models.config import Config
from wazn.models.expert_config import ExpertConfig
from wazn.models.recorder import Recorder, Tensor
from wazn.weights.arranged import Arrangement
from wazn.weights.container import TensorInfo
from wazn.weights.packed import PackedWeights


class Arrangements(NamedTuple):
    """Tensors that a family has arranged from those of the files, and names they replace."""

    tensors: dict[str, Arrangement]
    replaced: frozenset[str]


class Decoder(ABC):
    """One family: its names in checkpoints, and the mathematics of one block."""

    huggingface_types: ClassVar[tuple[str, ...]]
    gguf_architecture: ClassVar[str | None]  # None: GGUF files of it are not supported yet
    gguf_rope_interleaved: ClassVar[bool] = False  # the converter permuted q and k
    has_experts: ClassVar[bool] = False
    facts: ClassVar[tuple[str, ...]] = ()  # parts of a configuration that only some families have
    huggingface_defaults: ClassVar[Mapping[str, Any]] = {}  # what config.json need not state

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def experts(self) -> ExpertConfig:
        """Of families that have experts."""
        assert self.config.experts is not None, "families with experts are opened with them only"
        return self.config.experts

    @abstractmethod
    def block(self, x: Tensor, layer: Layer) -> Tensor:
        """x: (tokens, hidden) → (tokens, hidden)."""

    def start(self, x: Tensor) -> Tensor:
        """What the first block gets of the embedding."""
        return x

    def finish(self, x: Tensor, weights: PackedWeights) -> Tensor:
        """What the final norm gets of the last block."""
        return x

    def shape_logits(self, logits: Tensor) -> Tensor:
        """What is made of the products of the head."""
        return logits

    def arrange(self, tensors: Mapping[str, TensorInfo]) -> Arrangements:
        """The arrangement the block wants of tensors under their Hugging Face names."""
        return Arrangements({}, frozenset())

    @classmethod
    def apart(cls, tensors: Mapping[str, TensorInfo]) -> dict[str, Arrangement]:
        """Tensors under their Hugging Face names that files of the family keep fused or transposed
        in ways of its own, of ``tensors`` under the names of the files."""
        return {}

    def record(self, weights: PackedWeights) -> Recorder:
        """The whole model, once, on symbolic tensors."""
        recorder = Recorder()
        table = weights.matrix("model.embed_tokens.weight")
        x = embed(recorder, table)
        x = self.start(x)
        recorder.end_segment("embed")
        for index in range(self.config.num_layers):
            x = self.block(x, Layer(weights, self.config, index))
            recorder.end_segment(f"block {index}")
        weight = weights.vector("model.norm.weight") + np.float32(self.config.norm_offset)
        final = Norm(weight, self.config.norm_eps)
        x = final(self.finish(wanted_rows(x), weights))
        recorder.end_segment("norm")
        is_tied = "lm_head.weight" not in weights
        head = table if is_tied else weights.matrix("lm_head.weight")
        bias = weights.vector("lm_head.bias") if "lm_head.bias" in weights else None
        self.shape_logits(Linear("lm_head.weight", head, bias)(x, to_logits=True))
        recorder.end_segment("head")
        emit(x)
        recorder.end_segment("hidden")
        return recorder
