"""What the engine asks of a model, in one place; ``wazn.models.model.Model`` provides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wazn import native
from wazn.models.batch import Batch

if TYPE_CHECKING:
    from wazn.text.prompt import Prompt
    from wazn.text.tokenizer import Tokenizer


class ServedConfig(Protocol):
    """The facts of a checkpoint that limit a request."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def context_length(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...


class ServedTemplate(Protocol):
    """A chat template; ``prompt`` raises BadTemplate if it fails or takes too long."""

    @property
    def sources(self) -> Mapping[str, str]: ...
    def prompt(self, messages: Sequence[Mapping[str, Any]], **variables: Any) -> Prompt: ...


class ServedModel(Protocol):
    """Logits of batches over a paged KV cache, and what belongs to the checkpoint."""

    @property
    def config(self) -> ServedConfig: ...
    @property
    def max_rows(self) -> int: ...
    @property
    def pool(self) -> native.Pool: ...  # the threads of its steps, idle between two of them
    @property
    def page_bytes(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def tokenizer(self) -> Tokenizer | None: ...
    @property
    def chat_template(self) -> ServedTemplate | None: ...
    @property
    def generation_defaults(self) -> Mapping[str, float | int]: ...
    @property
    def stop_ids(self) -> frozenset[int]: ...
    @property
    def suggested_system(self) -> str | None: ...
    @property
    def state_bytes(self) -> int: ...  # of one sequence, besides its pages
    def open_cache(self, num_pages: int, num_slots: int) -> None: ...
    def forward(self, batch: Batch, /) -> NDArray[np.float32]: ...
    def hidden(self, batch: Batch, /) -> NDArray[np.float32]: ...
    def close(self) -> None: ...
