"""What running a model would take, found without reading a weight: memory, and whether it can.

The model is recorded on empty weights, so the figures are those of the engine, whatever the
family keeps for each token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wazn.errors import WaznError
from wazn.weights.choice import WEIGHTS, Weights

if TYPE_CHECKING:
    from wazn.models.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class RunFacts:
    """``problem``: why the model does not run as it is, or None.

    ``packed_bytes``: memory of the weights for each choice of --weights that is possible.
    ``kv_bytes_per_token`` of the cache in ``kv_format``, all layers.
    """

    problem: str | None = None
    packed_bytes: dict[str, int] = field(default_factory=dict)
    kv_format: str | None = None
    kv_bytes_per_token: int | None = None


def read_run_facts(path: Path) -> RunFacts:
    """The facts of a GGUF file or a Hugging Face directory; never an error of the model's."""
    problem: str | None = None
    sizes: dict[str, int] = {}
    cache: tuple[str | None, int | None] = None, None
    for weights in WEIGHTS:
        try:
            sizes[weights], cache = _rehearsed(path, weights)
        except WaznError as error:
            problem = str(error) if weights == "native" else problem
    return RunFacts(problem, sizes, *cache)


def _rehearsed(path: Path, weights: Weights) -> tuple[int, tuple[str, int]]:
    """Bytes of the packed weights; format of the KV cache, and its bytes a token."""
    from wazn.models.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(path, weights)
    try:
        return _measured(checkpoint)
    finally:
        checkpoint.close()


def _measured(checkpoint: Checkpoint) -> tuple[int, tuple[str, int]]:
    from wazn.models.model import Model, Options, TextParts
    from wazn.models.rehearsal import check_tensors, empty_weights
    from wazn.weights.packed import packed_size

    check_tensors(checkpoint)
    size = packed_size(checkpoint.packing.plan())
    options = Options(threads=1, exact=False, kv="auto")
    model = Model(checkpoint.decoder, empty_weights(checkpoint), options, TextParts())
    return size, (model.kv_format, model.kv_bytes_per_position)
