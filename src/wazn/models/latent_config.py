"""What a checkpoint says about multi-head latent attention (DeepSeek-V2 and later).

Both readers return None for models without it. They know config.json and GGUF metadata only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wazn.errors import BadFile

if TYPE_CHECKING:
    from wazn.models.config import Facts

FAMILIES = ("deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek2", "deepseek32")


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """Of the index that chooses ``top_k`` positions for each query: heads and their size."""

    heads: int
    dim: int
    top_k: int


@dataclass(frozen=True, slots=True)
class LatentConfig:
    """Sizes in elements: of the compressed query (None: not compressed) and of the latent vector,
    and of a head's query without rotation, with it, and of its value. ``scale`` is of scores."""

    query_rank: int | None
    rank: int
    plain: int
    rotary: int
    value: int
    scale: float
    index: IndexConfig | None = None


def latent_from_huggingface(facts: Facts, rope: Mapping[str, Any]) -> LatentConfig | None:
    """From ``config.json`` and its rope settings."""
    if facts.values.get("model_type") not in FAMILIES:
        return None
    compressed = facts.values.get("q_lora_rank") is not None
    plain, rotary = (facts.integer(f"qk_{part}_head_dim", "size") for part in ("nope", "rope"))
    scaling = facts.of("rope settings", rope)
    is_scaled = rope.get("rope_type", rope.get("type", "default")) != "default"
    temperature = (
        (scaling.number("factor"), scaling.number("mscale_all_dim"))
        if is_scaled and rope.get("mscale_all_dim")
        else ()
    )
    return _checked(
        LatentConfig(
            query_rank=facts.integer("q_lora_rank", "size") if compressed else None,
            rank=facts.integer("kv_lora_rank", "size"),
            plain=plain,
            rotary=rotary,
            value=facts.integer("v_head_dim", "size"),
            scale=_scale(plain + rotary, *temperature),
            index=IndexConfig(
                heads=facts.integer("index_n_heads", "heads"),
                dim=facts.integer("index_head_dim", "size"),
                top_k=facts.integer("index_topk", "context"),
            )
            if facts.values["model_type"] == "deepseek_v32"
            else None,
        ),
        facts.where,
    )


def latent_from_gguf(facts: Facts, family: str) -> LatentConfig | None:
    """From GGUF metadata without the family's prefix."""
    if family not in FAMILIES:
        return None
    values = facts.values
    rotary = facts.integer("rope.dimension_count", "size")
    # Files made before llama.cpp knew the absorbed form state the sizes of a head as such.
    suffix = "_mla" if "attention.key_length_mla" in values else ""
    head = facts.integer(f"attention.key_length{suffix}", "size")
    if head <= rotary:
        raise BadFile(f"{facts.where}: heads of {head} have no part besides {rotary} rotated")
    is_scaled = values.get("rope.scaling.type") == "yarn" and values.get(_LOG_MULTIPLIER)
    temperature = (facts.number("rope.scaling.factor"), log_multiplier(facts)) if is_scaled else ()
    return _checked(
        LatentConfig(
            query_rank=facts.integer("attention.q_lora_rank", "size")
            if values.get("attention.q_lora_rank", 0) != 0  # llama.cpp, too, takes 0 for none
            else None,
            rank=facts.integer("attention.kv_lora_rank", "size"),
            plain=head - rotary,
            rotary=rotary,
            value=facts.integer(f"attention.value_length{suffix}", "size"),
            scale=_scale(head, *temperature),
            index=IndexConfig(
                heads=facts.integer("attention.indexer.head_count", "heads"),
                dim=facts.integer("attention.indexer.key_length", "size"),
                top_k=facts.integer("attention.indexer.top_k", "context"),
            )
            if family == "deepseek32"
            else None,
        ),
        facts.where,
    )


_LOG_MULTIPLIER = "rope.scaling.yarn_log_multiplier"


def log_multiplier(facts: Facts) -> float:
    """mscale_all_dim of a GGUF file, which stores a tenth of it."""
    return facts.number(_LOG_MULTIPLIER) / 0.1


def _scale(head: int, factor: float = 1.0, mscale: float = 1.0) -> float:
    """head^-1/2, times the square of YaRN's temperature for contexts ``factor`` times as long."""
    temperature: float = 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0
    scale: float = head**-0.5 * temperature**2
    return scale


def _checked(latent: LatentConfig, where: str) -> LatentConfig:
    if latent.rank % 16 or latent.rank > 4096 or latent.rotary % 2 or latent.rotary > 1024:
        raise BadFile(
            f"{where}: latent vectors of size {latent.rank} with {latent.rotary} rotated are not "
            "supported; a multiple of 16 up to 4096 with an even number up to 1024 are"
        )
    index = latent.index
    if index and (index.dim > 4096 or index.dim < latent.rotary or latent.query_rank is None):
        raise BadFile(
            f"{where}: index heads of {index.dim} with {latent.rotary} rotated, or without a "
            "compressed query, are not supported"
        )
    return latent
