"""What all decoder-only families share: embedding, a stack of blocks, final norm, vocabulary head.

Segments, which can be run by range: ``embed``, ``block 0`` …, ``norm`` (of the wanted rows),
``head`` (logits of those), ``hidden`` (their normed states as the result).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from wazn.models.blocks import Layer, Linear, Norm, embed, emit, wanted_rows
from wazn.models.config import Config
from wazn.models.recorder import Recorder, Tensor
from wazn.weights.packed import PackedWeights


class Decoder(ABC):
    """One family: its names in checkpoints, and the mathematics of one block."""

    huggingface_types: ClassVar[tuple[str, ...]]
    gguf_architecture: ClassVar[str]
    gguf_rope_interleaved: ClassVar[bool] = False  # the converter permuted q and k
    has_experts: ClassVar[bool] = False

    def __init__(self, config: Config) -> None:
        self.config = config

    @abstractmethod
    def block(self, x: Tensor, layer: Layer) -> Tensor:
        """x: (tokens, hidden) → (tokens, hidden)."""

    def record(self, weights: PackedWeights) -> Recorder:
        """The whole model, once, on symbolic tensors."""
        recorder = Recorder()
        table = weights.matrix("model.embed_tokens.weight")
        x = embed(recorder, table)
        recorder.end_segment("embed")
        for index in range(self.config.num_layers):
            x = self.block(x, Layer(weights, self.config, index))
            recorder.end_segment(f"block {index}")
        final = Norm(weights.vector("model.norm.weight"), self.config.norm_eps)
        x = final(wanted_rows(x))
        recorder.end_segment("norm")
        is_tied = "lm_head.weight" not in weights
        head = table if is_tied else weights.matrix("lm_head.weight")
        Linear("lm_head.weight", head, None)(x, to_logits=True)
        recorder.end_segment("head")
        emit(x)
        recorder.end_segment("hidden")
        return recorder
