"""What a checkpoint says about attention over a window and compressed rows (DeepSeek-V4).

The reader returns None for models without it. It knows config.json only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wazn.errors import BadFile
from wazn.models.latent_config import IndexConfig
from wazn.models.streams import HyperConfig

if TYPE_CHECKING:
    from wazn.models.config import Facts

FAMILY = "deepseek_v4"
_SPARSE, _HEAVY = "compressed_sparse_attention", "heavily_compressed_attention"
_KINDS = ("sliding_attention", _SPARSE, _HEAVY)
_NETWORKS = ("hash_moe", "moe")


@dataclass(frozen=True, slots=True)
class CompressedConfig:
    """Sizes in elements; ``rates`` of each layer: positions to one compressed row, 0 for none.

    ``sparse`` of each layer: whether compressed rows overlap and an index chooses among them;
    ``hashed``: whether a token's id names its experts. ``limit`` is of activations.
    """

    query_rank: int
    rotary: int
    window: int
    rates: tuple[int, ...]
    sparse: tuple[bool, ...]
    hashed: tuple[bool, ...]
    index: IndexConfig
    output_groups: int
    output_rank: int
    limit: float
    hyper: HyperConfig


def compressed_from_huggingface(facts: Facts, head_dim: int) -> CompressedConfig | None:
    """From ``config.json``."""
    if facts.values.get("model_type") != FAMILY:
        return None
    num_layers = facts.integer("num_hidden_layers", "layers")
    rates = _rates(facts, num_layers)
    compressed = CompressedConfig(
        query_rank=facts.integer("q_lora_rank", "size"),
        rotary=_rotary(facts, head_dim),
        window=facts.integer("sliding_window", "context"),
        rates=tuple(rate for rate, _ in rates),
        sparse=tuple(is_sparse for _, is_sparse in rates),
        hashed=_hashed(facts, num_layers),
        index=IndexConfig(
            heads=facts.integer("index_n_heads", "heads"),
            dim=facts.integer("index_head_dim", "size"),
            top_k=facts.integer("index_topk", "context"),
        ),
        output_groups=facts.integer("o_groups", "heads"),
        output_rank=facts.integer("o_lora_rank", "size"),
        limit=facts.number("swiglu_limit"),
        hyper=HyperConfig(
            streams=facts.integer("hc_mult", "heads"),
            iterations=facts.integer("hc_sinkhorn_iters", "layers"),
            eps=facts.number("hc_eps"),
        ),
    )
    return _checked(compressed, facts, head_dim)


def rope_settings(
    values: Mapping[str, Any], rope: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of layers with nothing but a window, and those of all others."""
    nested = rope.get("main"), rope.get("compress")
    if all(isinstance(part, Mapping) for part in nested):
        main, compress = dict(nested[0] or {}), dict(nested[1] or {})
    else:
        main = {"rope_theta": values.get("rope_theta", 10000.0)}
        compress = {k: v for k, v in rope.items() if k not in ("main", "compress")}
        compress["rope_theta"] = values.get("compress_rope_theta")
    if compress.get("attention_factor") is None:
        compress["attention_factor"] = 1.0  # the angles have no temperature here
    return main, compress


def _rates(facts: Facts, num_layers: int) -> list[tuple[int, bool]]:
    """Rate and kind of each layer, from names of kinds and their rates, or from rates alone."""
    values = facts.values
    kinds, ratios = values.get("layer_types"), values.get("compress_ratios")
    if kinds is None and isinstance(ratios, list) and len(ratios) >= num_layers:
        known = {0: (0, False), 4: (4, True), 128: (128, False)}
        if all(type(ratio) is int and ratio in known for ratio in ratios):
            return [known[ratio] for ratio in ratios[:num_layers]]
    is_list = isinstance(kinds, list) and len(kinds) == num_layers
    if not isinstance(kinds, list) or not is_list or any(kind not in _KINDS for kind in kinds):
        raise BadFile(
            f"{facts.where}: layer_types is {str(kinds)[:60]!r} and compress_ratios "
            f"{str(ratios)[:60]!r}; one kind of {', '.join(_KINDS)} for each of {num_layers} "
            "layers is needed"
        )
    stated = values.get("compress_rates")
    rates = facts.of("compress_rates", stated if isinstance(stated, Mapping) else {})
    sparse, heavy = rates.integer(_SPARSE, "heads", 4), rates.integer(_HEAVY, "heads", 128)
    of_kind = {_KINDS[0]: (0, False), _SPARSE: (sparse, True), _HEAVY: (heavy, False)}
    return [of_kind[kind] for kind in kinds]


def _hashed(facts: Facts, num_layers: int) -> tuple[bool, ...]:
    kinds = facts.values.get("mlp_layer_types")
    if kinds is None:
        count = facts.values.get("num_hash_layers", 3)
        if type(count) is not int or not 0 <= count <= num_layers:
            raise BadFile(f"{facts.where}: num_hash_layers is {str(count)[:60]!r}")
        return tuple(index < count for index in range(num_layers))
    is_list = isinstance(kinds, list) and len(kinds) == num_layers
    if not isinstance(kinds, list) or not is_list or any(kind not in _NETWORKS for kind in kinds):
        raise BadFile(
            f"{facts.where}: mlp_layer_types is {str(kinds)[:60]!r}, not a list of "
            f"{' or '.join(_NETWORKS)} for each of {num_layers} layers"
        )
    return tuple(kind == _NETWORKS[0] for kind in kinds)


def _rotary(facts: Facts, head_dim: int) -> int:
    if facts.values.get("qk_rope_head_dim") is not None:
        return facts.integer("qk_rope_head_dim", "size")
    return int(head_dim * facts.number("partial_rotary_factor", 0.125))


def _checked(compressed: CompressedConfig, facts: Facts, head_dim: int) -> CompressedConfig:
    heads = facts.integer("num_attention_heads", "heads")
    rotary, index = compressed.rotary, compressed.index
    if rotary < 2 or rotary % 2 or rotary > min(head_dim, index.dim):
        raise BadFile(
            f"{facts.where}: {rotary} rotated of heads of {head_dim} and index heads of "
            f"{index.dim}; an even number of at least 2 and at most a head is needed"
        )
    if heads % compressed.output_groups or head_dim > 1024 or index.dim > 1024:
        raise BadFile(
            f"{facts.where}: {heads} heads of {head_dim} in {compressed.output_groups} groups, or "
            f"index heads of {index.dim}, are not supported"
        )
    if compressed.hyper.streams > 16 or max(compressed.rates) > 4096:
        raise BadFile(
            f"{facts.where}: {compressed.hyper.streams} streams or {max(compressed.rates)} "
            "positions to one row are more than any model has"
        )
    return compressed
