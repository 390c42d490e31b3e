"""From a path to a running model: open the checkpoint, pack or map its weights, read its text."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from wazn import native
from wazn.errors import BadRequest, DoesNotFit
from wazn.machine import available_memory, read_cpu
from wazn.models.checkpoint import Checkpoint, open_checkpoint
from wazn.models.model import KV_FORMATS, Model, Options, TextParts
from wazn.models.rehearsal import check_tensors
from wazn.models.text_parts import read_text_parts
from wazn.settings import Settings, load_settings
from wazn.topology import check_cpus, place, read_topology
from wazn.weights.catalog import ADVICE
from wazn.weights.choice import WEIGHTS, Weights
from wazn.weights.disk import format_bytes
from wazn.weights.packed import PackedWeights, packed_size
from wazn.weights.packed_cache import PackedCache, PackingOptions

Precision = Literal["fast", "exact"]
Kv = Literal["auto", "float32", "float16", "int8"]
Pin = bool | Sequence[int] | None


@dataclass(frozen=True, slots=True)
class Listener:
    """Whom loading tells: ``total`` bytes to pack, then bytes as they are, and sentences."""

    total: Callable[[int], None] = lambda num_bytes: None
    advance: Callable[[int], None] = lambda num_bytes: None
    notify: Callable[[str], None] = lambda sentence: None


def load_model(
    path: Path,
    *,
    threads: int | None = None,
    precision: Precision = "fast",
    kv: Kv = "auto",
    weights: Weights = "native",
    pin: Pin = None,
    settings: Settings | None = None,
    listener: Listener | None = None,
) -> Model:
    """Load a GGUF file or a Hugging Face directory.

    ``weights``: matrices of floats as they are ("native"), or rounded to 8 or 4 bits ("q8", "q4").
    ``pin``: True or a CPU for each thread; None is the setting. Threads on several NUMA nodes get
    a copy of the weights. Raises BadRequest for an option, DoesNotFit for that copy, BadFile,
    UnsupportedModel or ModelNotFound for the checkpoint.
    """
    settings = settings or load_settings()
    options = _checked(threads, precision, kv, settings.pin if pin is None else pin)
    if weights not in WEIGHTS:
        raise BadRequest(f"weights is {weights!r}; it can be {', '.join(map(repr, WEIGHTS))}")
    with _without_garbage_collection():
        checkpoint = open_checkpoint(path, weights)
        try:
            check_tensors(checkpoint)
            with ThreadPoolExecutor(1) as reader:  # the tokenizer is read while weights are packed
                text = reader.submit(read_text_parts, checkpoint)
                packed = _packed(checkpoint, options, settings, listener or Listener())
                parts = _advised(text.result(), packed)
            model = Model(checkpoint.decoder, packed, options, parts)
            _spread(model, listener or Listener())
        finally:
            checkpoint.close()
    native.release_free_memory()  # what reading the files took
    return model


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Vocabularies are hundreds of thousands of objects that stay: looking among them for cycles,
    again and again, is a fifth of the time that loading a packed model takes."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _advised(text: TextParts, weights: PackedWeights) -> TextParts:
    """Fills what the checkpoint leaves open with what the catalogue knows about its files."""
    for source in weights.sources:
        if advice := ADVICE.get(source.sha256):
            defaults = text.generation_defaults or advice.sampling
            return replace(text, generation_defaults=defaults, suggested_system=advice.system)
    return text


def _packed(
    checkpoint: Checkpoint, options: Options, settings: Settings, listener: Listener
) -> PackedWeights:
    container = checkpoint.container
    listener.total(sum(container.tensors[name].nbytes for name in checkpoint.names.values()))
    packing = checkpoint.packing
    _warn_of_size(checkpoint, packed_size(packing.plan()), listener)
    how = PackingOptions(options.threads, listener.advance, listener.notify)
    packed = PackedCache(settings).open(packing, how)
    if (sentence := packed.loss.describe()) is not None:
        listener.notify(sentence)
    elif checkpoint.weights != "native" and not packed.loss.sums:
        listener.notify(
            f"weights={checkpoint.weights} changes nothing: this model has no matrices of floats."
        )
    return packed


def _warn_of_size(checkpoint: Checkpoint, num_bytes: int, listener: Listener) -> None:
    """Say so where the weights do not fit in memory, and which choice of theirs would."""
    free = available_memory()
    if num_bytes <= free:
        return
    smaller = []
    for weights in WEIGHTS[WEIGHTS.index(checkpoint.weights) + 1 :]:
        other = open_checkpoint(checkpoint.path, weights)
        size = packed_size(other.packing.plan())
        other.close()
        if size < num_bytes:
            smaller.append(f"--weights {weights} takes {format_bytes(size)}")
    advice = f"; {', '.join(smaller)}" if smaller else ""
    listener.notify(
        f"The weights take {format_bytes(num_bytes)} and {format_bytes(free)} of memory are free: "
        f"they will be read from the disk again and again{advice}."
    )


def _spread(model: Model, listener: Listener) -> None:
    """Copy the weights if the pinned threads of a model span NUMA nodes; DoesNotFit without room.

    The model is closed then.
    """
    nodes = read_topology().nodes(model.options.cpus) if model.options.cpus else ()
    if len(nodes) < 2:
        return
    need, free = model.copied_bytes, available_memory()
    if need > free:
        model.close()
        raise DoesNotFit(
            f"threads pinned to {len(nodes)} NUMA nodes need a copy of the weights there: "
            f"{format_bytes(need)}, and {format_bytes(free)} of memory are free. Use fewer threads "
            "(--threads), so that one node has them all, or do without pinning."
        )
    listener.notify(
        f"copying {format_bytes(need)} of weights, so that each of {len(nodes)} NUMA nodes "
        "has what its threads read"
    )
    model.copy_weights()


def _checked(threads: int | None, precision: str, kv: str, pin: bool | Sequence[int]) -> Options:
    if precision not in ("fast", "exact"):
        raise BadRequest(f"precision is {precision!r}; it can be 'fast' or 'exact'")
    if kv not in KV_FORMATS:
        raise BadRequest(f"kv is {kv!r}; it can be {', '.join(map(repr, KV_FORMATS))}")
    if not isinstance(pin, bool | Sequence):
        raise BadRequest(f"pin is {pin!r:.40}; it can be True, False or a list of CPUs")
    named = () if isinstance(pin, bool) else check_cpus(read_topology(), pin)
    if threads is None:
        threads = len(named) or read_cpu().useful_threads
    if not 1 <= threads <= 1024:
        raise BadRequest(f"threads is {threads}; it can be 1 to 1024")
    if named and len(named) != threads:
        raise BadRequest(f"pin names {len(named)} CPUs for {threads} threads; give one for each")
    cpus = place(read_topology(), threads) if pin is True else named
    return Options(threads, precision == "exact", kv, cpus)
