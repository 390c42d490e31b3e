"""What a checkpoint says about layers of linear attention among those of ordinary attention.

Both readers return None for models without them. They know config.json and GGUF metadata only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wazn.errors import BadFile

if TYPE_CHECKING:
    from wazn.models.config import Facts

FAMILIES = ("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text")
GGUF_FAMILIES = ("qwen3next", "qwen35", "qwen35moe")
_GGUF_TILED = ("qwen35", "qwen35moe")  # whose converter changed the order of value heads
_INTERVAL = 4  # of layers with ordinary attention where a file does not say otherwise
_ROTATED = 0.25  # share of a head


@dataclass(frozen=True, slots=True)
class DeltaConfig:
    """Heads and their sizes, and how many rows the convolution reaches over.

    ``tiled``: value head h belongs to key head h mod key heads, not h // (values / keys).
    ``full_layers`` says of each layer whether it has ordinary attention.
    """

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    conv_size: int
    tiled: bool
    full_layers: tuple[bool, ...]


def delta_from_huggingface(facts: Facts) -> DeltaConfig | None:
    """From ``config.json``."""
    if facts.values.get("model_type") not in FAMILIES:
        return None
    num_layers = facts.integer("num_hidden_layers", "layers")
    kinds = facts.values.get("layer_types")
    if kinds is None:
        interval = facts.integer("full_attention_interval", "layers", _INTERVAL)
        full_layers = _every(interval, num_layers)
    else:
        full_layers = _of_kinds(kinds, num_layers, facts.where)
    return _checked(
        DeltaConfig(
            key_heads=facts.integer("linear_num_key_heads", "heads"),
            value_heads=facts.integer("linear_num_value_heads", "heads"),
            key_dim=facts.integer("linear_key_head_dim", "size"),
            value_dim=facts.integer("linear_value_head_dim", "size"),
            conv_size=facts.integer("linear_conv_kernel_dim", "heads"),
            tiled=False,
            full_layers=full_layers,
        ),
        facts.where,
    )


def rotary_from_huggingface(facts: Facts, rope: Mapping[str, Any], head_dim: int) -> int:
    """How many numbers of a head are rotated."""
    share = facts.values.get("partial_rotary_factor", rope.get("partial_rotary_factor", _ROTATED))
    is_share = isinstance(share, int | float) and not isinstance(share, bool) and 0 < share <= 1
    rotated = int(head_dim * share) if is_share else 0
    if rotated < 2 or rotated % 2:
        raise BadFile(
            f"{facts.where}: partial_rotary_factor is {str(share)[:60]!r}, and of heads of "
            f"{head_dim} an even number of at least 2 must be rotated"
        )
    return rotated


def delta_from_gguf(facts: Facts, family: str) -> DeltaConfig | None:
    """From GGUF metadata without the family's prefix."""
    if family not in GGUF_FAMILIES:
        return None
    num_layers = facts.gguf_layers()
    recurrent = facts.values.get("attention.recurrent_layers")
    if recurrent is None:
        interval = facts.integer("full_attention_interval", "layers", _INTERVAL)
        full_layers = _every(interval, num_layers)
    else:
        flags = list(recurrent)[:num_layers] if isinstance(recurrent, Sequence) else []
        full_layers = tuple(not flag for flag in flags)
    value_heads = facts.integer("ssm.time_step_rank", "heads")
    inner = facts.integer("ssm.inner_size", "size")
    if inner % value_heads or len(full_layers) != num_layers:
        raise BadFile(
            f"{facts.where}: {value_heads} heads of linear attention do not share {inner} values, "
            f"or {len(full_layers)} kinds of layers do not fit {num_layers}"
        )
    return _checked(
        DeltaConfig(
            key_heads=facts.integer("ssm.group_count", "heads"),
            value_heads=value_heads,
            key_dim=facts.integer("ssm.state_size", "size"),
            value_dim=inner // value_heads,
            conv_size=facts.integer("ssm.conv_kernel", "heads"),
            tiled=family in _GGUF_TILED,
            full_layers=full_layers,
        ),
        facts.where,
    )


def _every(interval: int, num_layers: int) -> tuple[bool, ...]:
    return tuple((index + 1) % interval == 0 for index in range(num_layers))


def _of_kinds(kinds: object, num_layers: int, where: str) -> tuple[bool, ...]:
    known = ("full_attention", "linear_attention")
    is_list = isinstance(kinds, list) and len(kinds) == num_layers
    if not isinstance(kinds, list) or not is_list or any(kind not in known for kind in kinds):
        raise BadFile(
            f"{where}: layer_types is {str(kinds)[:60]!r}, not a list of {' or '.join(known)} for "
            f"each of {num_layers} layers"
        )
    return tuple(kind == "full_attention" for kind in kinds)


def _checked(delta: DeltaConfig, where: str) -> DeltaConfig:
    if delta.value_heads % delta.key_heads or delta.value_dim % 16 or delta.conv_size < 2:
        raise BadFile(
            f"{where}: {delta.value_heads} value heads of {delta.value_dim} for {delta.key_heads} "
            f"key heads with a convolution of {delta.conv_size} are not supported; a multiple of "
            "the key heads, of multiples of 16, with at least 2 are"
        )
    if max(delta.key_dim, delta.value_dim) > 1024 or delta.conv_size > 64:
        raise BadFile(f"{where}: heads of linear attention beyond 1024, or a convolution beyond 64")
    return delta
