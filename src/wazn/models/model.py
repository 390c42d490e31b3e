"""A loaded model: its recorded program, its packed weights and its KV pages, behind three calls.

Knows batches and logits; refuses to know requests, sampling and text (the tokenizer and the chat
template are only carried along for the engine).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wazn import native
from wazn.errors import EngineFailed
from wazn.models.batch import PAGE, Batch
from wazn.models.config import Config
from wazn.models.decoder import Decoder
from wazn.models.lowering import Shape, lower
from wazn.models.operation import Operation
from wazn.models.rotary import Angles
from wazn.models.temperature import Factors
from wazn.weights.packed import PackedWeights, Place, packed_size

if TYPE_CHECKING:
    from wazn.text.chat_template import ChatTemplate
    from wazn.text.deepseek_encoding import DeepSeekEncoding
    from wazn.text.tokenizer import Tokenizer

__all__ = ["PAGE", "Batch", "Config", "Model", "Options", "TextParts"]

MAX_ROWS = 256
"""Rows of one step: enough for the wide kernels, few enough that decoding rarely waits, and that
the activations of a 1.1 B model take 25 MB."""
MAX_ROWS_OF_EXPERTS = 512
"""The same where there are experts, each of which gets only a few of them."""

KV_FORMATS = ("auto", "float32", "float16", "int8")
AUTO_KV: dict[str | None, str] = {"llama": "int8"}
"""What "auto" means for a family, by GGUF architecture; float16 for those not measured.

int8 where its whole loss was measured and within bounds (docs/performance.md, quality).
"""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a model. ``threads`` are threads of the native pool, each on one of ``cpus``."""

    threads: int
    exact: bool
    kv: str
    cpus: tuple[int, ...] = ()  # empty: wherever Linux puts them


@dataclass(frozen=True, slots=True)
class TextParts:
    """What a checkpoint brings for text; all optional but the stop ids."""

    tokenizer: Tokenizer | None = None
    chat_template: ChatTemplate | DeepSeekEncoding | None = None
    generation_defaults: Mapping[str, float | int] = field(default_factory=dict)
    stop_ids: frozenset[int] = frozenset()
    suggested_system: str | None = None  # for a chat that has no system message of its own


class Model:
    """Runs batches. Not thread-safe: one step at a time."""

    def __init__(
        self, decoder: Decoder, weights: PackedWeights, options: Options, text: TextParts
    ) -> None:
        self.config: Config = decoder.config
        self.weights = weights
        self.options = options
        self.max_rows = MAX_ROWS if self.config.experts is None else MAX_ROWS_OF_EXPERTS
        self.tokenizer = text.tokenizer
        self.chat_template = text.chat_template
        self.generation_defaults = text.generation_defaults
        self.stop_ids = text.stop_ids
        self.suggested_system = text.suggested_system
        automatic = AUTO_KV.get(decoder.gguf_architecture, "float16")
        chosen = automatic if options.kv == "auto" else options.kv
        self.kv_format = "float32" if options.exact else chosen
        shape = Shape(
            max_rows=self.max_rows,
            exact=options.exact,
            num_kv_heads=self.config.num_kv_heads,
            head_dim=self.config.head_dim,
            kv_format=self.kv_format,
            rope_interleaved=self.config.rope_interleaved,
        )
        self.pool = native.Pool(options.threads, options.cpus)
        lowered = lower(decoder.record(weights), shape, self.pool)
        self._program, self._listing, self._operations = lowered
        self._is_copied = False
        self._num_layers_end = 1 + self.config.num_layers
        self._angles = [Angles(config) for config in self.config.rope_tables()]
        self._logits = np.empty((0, self.config.vocab_size), np.float32)
        for number, angles in enumerate(self._angles):
            self._program.set_angles(angles.table, number)
        temperature, context = self.config.temperature, self.config.context_length
        self._factors = None if temperature is None else Factors(temperature, context)
        if self._factors is not None:
            self._program.set_factors(self._factors.table)

    @property
    def page_bytes(self) -> int:
        """KV bytes of one page of positions, all layers."""
        return self._program.page_bytes

    @property
    def kv_bytes_per_position(self) -> int:
        """Bytes that one position's keys and values take, all layers."""
        return self.page_bytes // PAGE

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed weights that steps read where they were packed, not in a copy."""
        copied = self.copied_bytes if self._is_copied else 0
        return max(0, packed_size(self.weights.places) - copied)

    @property
    def copied_bytes(self) -> int:
        """Bytes that ``copy_weights`` takes."""
        return self._program.copied_bytes

    def copy_weights(self) -> None:
        """Have products read a copy of their weights, each part on its thread's NUMA node.

        For pinned threads; EngineFailed if the packed file is lost meanwhile.
        """
        try:
            self._program.copy_weights()
        except RuntimeError as error:
            raise EngineFailed(str(error)) from error
        self._is_copied = True

    @property
    def state_bytes(self) -> int:
        """Bytes of one sequence's state besides its pages; 0 for most models."""
        return self._program.state_bytes

    def open_cache(self, num_pages: int, num_slots: int = 1) -> None:
        """Reserve address space for pages and states; memory is taken when one is first written."""
        self._program.open_cache(num_pages, num_slots)

    def forward(self, batch: Batch) -> NDArray[np.float32]:
        """Logits (wanted rows, vocab) float32 of one step, valid until the next."""
        num_wanted = len(batch.logit_rows)
        if not num_wanted:
            self._run(batch, 0, self._num_layers_end, np.empty((0, 1), np.float32))
            return self._logits[:0]
        if num_wanted > len(self._logits):  # kept: the pages of fresh memory would fault every step
            self._logits = np.empty((num_wanted, self.config.vocab_size), np.float32)
        logits = self._logits[:num_wanted]
        self._run(batch, 0, self._num_layers_end + 2, logits)
        return logits

    def hidden(self, batch: Batch) -> NDArray[np.float32]:
        """Final-norm hidden states (wanted rows, hidden) float32 of one step."""
        states = np.empty((len(batch.logit_rows), self.config.hidden_size), np.float32)
        self._run(batch, 0, self._num_layers_end + 1, states)
        self._run(batch, self._num_layers_end + 2, self._num_layers_end + 3, states)
        return states

    def _run(self, batch: Batch, first: int, last: int, result: NDArray[np.float32]) -> None:
        num_positions = int((batch.first_positions + np.diff(batch.row_starts)).max())
        for number, angles in enumerate(self._angles):
            if angles.grow(num_positions):
                self._program.set_angles(angles.table, number)
        if self._factors is not None and self._factors.grow(num_positions):
            self._program.set_factors(self._factors.table)
        try:
            self._program.run(
                first,
                last,
                batch.token_ids,
                batch.row_starts,
                batch.first_positions,
                batch.page_tables,
                batch.logit_rows,
                result,
                batch.state_slots,
            )
        except RuntimeError as error:
            raise EngineFailed(str(error)) from error

    def describe_program(self) -> str:
        """The recorded program, one operation a line."""
        return "\n".join(self._listing)

    def start_profile(self) -> None:
        """From now on, add up how long each operation takes."""
        self._program.start_profile()

    def operation_seconds(self) -> list[tuple[Operation, float]]:
        """Every operation in order, and its seconds since ``start_profile``."""
        seconds = self._program.seconds
        return [
            (operation, sum(seconds[index] for index in operation.native))
            for operation in self._operations
        ]

    @property
    def macs_per_token(self) -> int:
        """Multiply-accumulates of the weight matrices for one token, without the head.

        Of the experts, those that a token takes.
        """
        return sum(
            self._active(name, place) * place.rows * place.columns
            for name, place in self.weights.places.items()
            if name.startswith("model.layers.") and place.rows > 1
        )

    @property
    def bytes_per_step(self) -> int:
        """Bytes of weights that a decode step reads, the head included.

        The embedding table counts once if it is also the head, and not at all otherwise; of the
        experts, those that a token takes.
        """
        head = "lm_head.weight" if "lm_head.weight" in self.weights else "model.embed_tokens.weight"
        return sum(
            place.num_bytes * self._active(name, place) // place.count
            for name, place in self.weights.places.items()
            if name == head or name.startswith("model.layers.")
        )

    def _active(self, name: str, place: Place) -> int:
        """Matrices of a stack that one token is multiplied by."""
        experts = self.config.experts
        return experts.per_token if experts and ".experts." in name else place.count

    def close(self) -> None:
        """End the helper processes that belong to the model's text parts."""
        for part in (self.tokenizer, self.chat_template):
            if part is not None:
                part.close()
