"""From a path to a running model: open the checkpoint, pack or map its weights, read its text."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from wazn.errors import BadRequest
from wazn.machine import read_cpu
from wazn.models.checkpoint import Checkpoint, open_checkpoint
from wazn.models.model import KV_FORMATS, Model, Options, TextParts
from wazn.models.text_parts import read_text_parts
from wazn.settings import Settings, load_settings
from wazn.weights.catalog import ADVICE
from wazn.weights.packed import PackedWeights
from wazn.weights.packed_cache import PackedCache, PackingOptions

Precision = Literal["fast", "exact"]
Kv = Literal["auto", "float32", "float16", "int8"]


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
    settings: Settings | None = None,
    listener: Listener | None = None,
) -> Model:
    """Load a GGUF file or a Hugging Face directory.

    Raises BadRequest for an option, BadFile, UnsupportedModel or ModelNotFound for the checkpoint.
    """
    options = _checked(threads, precision, kv)
    checkpoint = open_checkpoint(path)
    try:
        with ThreadPoolExecutor(1) as reader:  # the tokenizer is read while weights are packed
            text = reader.submit(read_text_parts, checkpoint)
            weights = _packed(
                checkpoint, options, settings or load_settings(), listener or Listener()
            )
            parts = _advised(text.result(), weights)
        return Model(checkpoint.decoder, weights, options, parts)
    finally:
        checkpoint.close()


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
    packing = PackingOptions(options.threads, listener.advance, listener.notify)
    return PackedCache(settings).open(container, checkpoint.names, packing)


def _checked(threads: int | None, precision: str, kv: str) -> Options:
    if precision not in ("fast", "exact"):
        raise BadRequest(f"precision is {precision!r}; it can be 'fast' or 'exact'")
    if kv not in KV_FORMATS:
        raise BadRequest(f"kv is {kv!r}; it can be {', '.join(map(repr, KV_FORMATS))}")
    if threads is None:
        threads = read_cpu().useful_threads
    if not 1 <= threads <= 1024:
        raise BadRequest(f"threads is {threads}; it can be 1 to 1024")
    return Options(threads, precision == "exact", kv)
