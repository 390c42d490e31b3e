"""What a checkpoint says about its mixture of experts; variants not supported are refused by name.

Both readers return None for a dense model. They know config.json and GGUF metadata, not tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wazn.errors import BadFile, UnsupportedModel

if TYPE_CHECKING:
    from wazn.models.config import Facts

_HUGGINGFACE_COUNTS = ("num_experts", "num_local_experts")
_GGUF_RENORMALIZED = ("qwen3moe",)  # whose files do not say that weights sum to 1
_SOFTMAX = 1  # of the values of expert_gating_func
_GGUF_REFUSED = {
    "expert_group_count": (0, 1),
    "expert_weights_scale": (0, 1),
    "expert_gating_func": (0, _SOFTMAX),
    "leading_dense_block_count": (0,),
}


@dataclass(frozen=True, slots=True)
class ExpertConfig:
    """Experts of a layer: a router's softmax chooses ``per_token`` of ``count`` for each token.

    ``normalize``: their weights are divided by their sum.
    """

    count: int
    per_token: int
    intermediate_size: int
    normalize: bool


def experts_from_huggingface(facts: Facts) -> ExpertConfig | None:
    """From ``config.json``."""
    values = facts.values
    key = next((key for key in _HUGGINGFACE_COUNTS if values.get(key)), None)
    if key is None:
        return None
    if values.get("mlp_only_layers") or values.get("decoder_sparse_step", 1) != 1:
        raise UnsupportedModel(
            f"{facts.where}: layers without experts among layers with them (mlp_only_layers, "
            "decoder_sparse_step) are not supported yet"
        )
    return _checked(
        ExpertConfig(
            count=facts.integer(key, "experts"),
            per_token=facts.integer("num_experts_per_tok", "experts"),
            intermediate_size=facts.integer("moe_intermediate_size", "size"),
            normalize=_flag(facts, "norm_topk_prob", False),
        ),
        facts.where,
    )


def experts_from_gguf(facts: Facts, family: str) -> ExpertConfig | None:
    """From GGUF metadata without the family's prefix."""
    if not facts.values.get("expert_count"):
        return None
    for key, allowed in _GGUF_REFUSED.items():
        if (value := facts.values.get(key, allowed[0])) not in allowed:
            raise UnsupportedModel(
                f"{facts.where}.{key} is {str(value)[:60]!r}, which is not supported yet"
            )
    return _checked(
        ExpertConfig(
            count=facts.integer("expert_count", "experts"),
            per_token=facts.integer("expert_used_count", "experts"),
            intermediate_size=facts.integer("expert_feed_forward_length", "size"),
            normalize=_flag(facts, "expert_weights_norm", family in _GGUF_RENORMALIZED),
        ),
        facts.where,
    )


def _flag(facts: Facts, key: str, default: bool) -> bool:
    value = facts.values.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadFile(f"{facts.where}: {key} is {str(value)[:60]!r}, not true or false")
    return default if value is None else value


def _checked(experts: ExpertConfig, where: str) -> ExpertConfig:
    if experts.per_token > experts.count:
        raise BadFile(
            f"{where}: {experts.per_token} experts for each token of only {experts.count}"
        )
    return experts
