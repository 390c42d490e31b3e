"""What a checkpoint says about Llama 4: which layers rotate, which see chunks, and temperatures.

Both readers return None for other families. They know config.json and GGUF metadata only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wazn.errors import BadFile, UnsupportedModel
from wazn.models.temperature import Temperature

if TYPE_CHECKING:
    from wazn.models.config import Facts

HUGGINGFACE, GGUF = "llama4_text", "llama4"
# Not in GGUF files: what all published models have (and llama.cpp takes for granted).
_INTERVAL, _CHUNK = 4, 8192
_TEMPERATURE = Temperature("steps", 8192, 0.1)
_UNNORMED_EXPERTS = 128  # so many experts are Maverick's, which does not norm queries and keys


@dataclass(frozen=True, slots=True)
class Llama4Config:
    """Of each layer: whether queries and keys are rotated, and whether a position sees its chunk.

    ``chunk`` is in tokens. ``normed``: rotated queries and keys are normed after. The scores of
    layers that do not rotate have a ``temperature``.
    """

    rotated: tuple[bool, ...]
    chunked: tuple[bool, ...]
    chunk: int
    normed: bool
    temperature: Temperature | None


def llama4_from_huggingface(facts: Facts) -> Llama4Config | None:
    """From the text part of ``config.json``."""
    if facts.values.get("model_type") != HUGGINGFACE:
        return None
    rotated = _rotated(facts)
    chunked = _chunked(facts, rotated)
    temperature = None
    if facts.flag("attn_temperature_tuning", True):
        length = facts.integer("floor_scale", "context", 8192)
        temperature = Temperature("steps", length, facts.number("attn_scale", 0.1))
    return Llama4Config(
        rotated,
        chunked,
        facts.integer("attention_chunk_size", "context", 8192) if any(chunked) else _CHUNK,
        facts.flag("use_qk_norm", True),
        temperature,
    )


def _rotated(facts: Facts) -> tuple[bool, ...]:
    """``no_rope_layers`` has a 1 for each layer that rotates."""
    layers = facts.integer("num_hidden_layers", "layers")
    stated = facts.values.get("no_rope_layers")
    if not stated:
        interval = facts.integer("no_rope_layer_interval", "layers", _INTERVAL)
        return tuple((index + 1) % interval != 0 for index in range(layers))
    is_list = isinstance(stated, list) and len(stated) >= layers
    if not is_list or any(flag not in (0, 1) for flag in stated):
        raise BadFile(
            f"{facts.where}: no_rope_layers is {str(stated)[:60]!r}, not a 0 or 1 for each of "
            f"{layers} layers"
        )
    return tuple(bool(flag) for flag in stated[:layers])


def _chunked(facts: Facts, rotated: tuple[bool, ...]) -> tuple[bool, ...]:
    stated = facts.values.get("layer_types")
    if stated is None:
        return rotated
    kinds = "chunked_attention", "full_attention"
    is_list = isinstance(stated, list) and len(stated) == len(rotated)
    if not is_list or any(kind not in kinds for kind in stated):
        raise BadFile(
            f"{facts.where}: layer_types is {str(stated)[:60]!r}, not one of {', '.join(kinds)} "
            f"for each of {len(rotated)} layers"
        )
    return tuple(kind == kinds[0] for kind in stated)


def llama4_from_gguf(facts: Facts, family: str) -> Llama4Config | None:
    """From GGUF metadata without the family's prefix."""
    if family != GGUF:
        return None
    if "attention.sliding_window" in facts.values:
        raise UnsupportedModel(
            f"{facts.where}.attention.sliding_window is stated; only models that see chunks of "
            f"{_CHUNK} positions are supported"
        )
    layers = range(facts.gguf_layers())
    rotated = tuple((index + 1) % _INTERVAL != 0 for index in layers)
    normed = facts.values.get("expert_count") != _UNNORMED_EXPERTS
    return Llama4Config(rotated, rotated, _CHUNK, normed, _TEMPERATURE)
