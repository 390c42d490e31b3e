"""What a checkpoint says about its mixture of experts; variants not supported are refused by name.

Both readers return None for a dense model. They know config.json and GGUF metadata, not tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from wazn.errors import BadFile, UnsupportedModel
from wazn.models.grok_config import GGUF as GROK_GGUF
from wazn.models.grok_config import is_grok, router_cap

if TYPE_CHECKING:
    from wazn.models.config import Facts

_HUGGINGFACE_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
# Whose files do not say that weights sum to 1.
_RENORMALIZED = (
    "qwen3moe",
    "deepseek_v3",
    "deepseek_v32",
    "qwen3_next",
    "qwen3_5_moe",
    "qwen3_5_moe_text",
    "qwen3next",
    "qwen35moe",
    "ernie4_5-moe",
    "gpt_oss",
    "gpt-oss",
)
GPT_ALPHA, GPT_LIMIT = 1.702, 7.0  # of gpt-oss, where a file does not say
Scoring = Literal["softmax", "sigmoid", "sqrt_softplus"]
# By the values of expert_gating_func; files older than that key have a softmax.
_GGUF_SCORINGS: dict[int, Scoring] = {0: "softmax", 1: "softmax", 2: "sigmoid"}


@dataclass(frozen=True, slots=True)
class ExpertConfig:
    """Experts of a layer: a router chooses ``per_token`` of ``count`` for each token.

    ``scoring`` makes scores of the router's products. Only experts of the ``top_groups`` best of
    ``groups`` groups are chosen; a group counts its best score, or (``sums_two``) the sum of its
    two best. ``normalize``: weights are divided by their sum, or by ``least_sum`` if that is more.
    ``scale`` multiplies them. ``softcap``, ``by_logits`` and ``on_input`` as of a Choice.
    ``shared``: every token takes a network besides. Of the layers from ``first_layer`` to
    ``last_layer`` (None: to the end) the last of each ``interval`` has experts, the others have an
    ordinary network. ``limit`` is that of activations, where gates have one.
    """

    count: int
    per_token: int
    intermediate_size: int
    normalize: bool
    scoring: Scoring = "softmax"
    groups: int = 1
    top_groups: int = 1
    sums_two: bool = False
    scale: float = 1.0
    first_layer: int = 0
    last_layer: int | None = None
    interval: int = 1
    least_sum: float = 0.0
    softcap: float = 0.0
    by_logits: bool = False
    on_input: bool = False
    shared: bool = False
    limit: float = 0.0

    def in_layer(self, index: int) -> bool:
        """Whether layer ``index``, counted from 0, has experts."""
        is_within = self.last_layer is None or index <= self.last_layer
        return is_within and index >= self.first_layer and (index + 1) % self.interval == 0


_LLAMA4 = ExpertConfig(1, 1, 1, False, "sigmoid", by_logits=True, on_input=True, shared=True)


def experts_from_huggingface(facts: Facts) -> ExpertConfig | None:
    """From ``config.json``."""
    values = facts.values
    key = next((key for key in _HUGGINGFACE_COUNTS if values.get(key)), None)
    if key is None:
        return None
    if key == "moe_num_experts":
        return _checked(_ernie(facts), facts.where)
    if values.get("model_type") == "llama4_text":
        return _checked(_llama4(facts), facts.where)
    if is_grok(facts):
        widths = "moe_intermediate_size", "intermediate_size"
        return _checked(_grok(facts, key, "num_experts_per_tok", widths), facts.where)
    if values.get("mlp_only_layers") or values.get("decoder_sparse_step", 1) != 1:
        raise UnsupportedModel(
            f"{facts.where}: layers without experts among layers with them (mlp_only_layers, "
            "decoder_sparse_step) are not supported yet"
        )
    is_gpt = values.get("model_type") == "gpt_oss"
    experts = ExpertConfig(
        count=facts.integer(key, "experts"),
        per_token=facts.integer("num_experts_per_tok", "experts"),
        intermediate_size=facts.integer(
            "intermediate_size" if is_gpt else "moe_intermediate_size", "size"
        ),
        normalize=facts.flag("norm_topk_prob", values.get("model_type") in _RENORMALIZED),
    )
    if key == "n_routed_experts":
        experts = _deepseek(experts, facts)
    if is_gpt:
        experts = replace(experts, limit=_gpt_limit(facts))
    return _checked(experts, facts.where)


def _gpt_limit(facts: Facts) -> float:
    """Of gpt-oss' gates, whose other constant is part of the kernel."""
    if (alpha := facts.number("swiglu_alpha", GPT_ALPHA)) != GPT_ALPHA:
        raise UnsupportedModel(
            f"{facts.where}: swiglu_alpha {alpha:g} is not supported, {GPT_ALPHA} is"
        )
    return facts.number("swiglu_limit", GPT_LIMIT)


def _deepseek(experts: ExpertConfig, facts: Facts) -> ExpertConfig:
    """DeepSeek's groups: V2 looks at the best expert of each, V3 at the two best and a bias."""
    if facts.values.get("model_type") == "deepseek_v4":
        scale = facts.number("routed_scaling_factor", 1.0)
        return replace(experts, normalize=True, scoring="sqrt_softplus", scale=scale)
    is_second = facts.values.get("model_type") == "deepseek_v2"
    method = facts.values.get("topk_method", "greedy" if is_second else "noaux_tc")
    known = ("greedy", "group_limited_greedy") if is_second else ("noaux_tc",)
    if method not in known or (is_second and experts.normalize):
        raise UnsupportedModel(
            f"{facts.where}: topk_method {str(method)[:60]!r} with norm_topk_prob "
            f"{experts.normalize} is not supported; {' and '.join(map(repr, known))} are"
            + (" without it" if is_second else "")
        )
    has_groups = method != "greedy"
    return replace(
        experts,
        scoring="softmax" if is_second else "sigmoid",
        groups=facts.integer("n_group", "experts") if has_groups else 1,
        top_groups=facts.integer("topk_group", "experts") if has_groups else 1,
        sums_two=not is_second,
        scale=facts.number("routed_scaling_factor", 1.0),
        first_layer=_or_zero(facts, "first_k_dense_replace"),
    )


def _ernie(facts: Facts) -> ExpertConfig:
    """ERNIE 4.5's: softmax, a bias for the choice only, weights that sum to 1."""
    last = facts.values.get("moe_layer_end_index", -1)
    has_norm = facts.values.get("moe_norm_min") is not None
    return ExpertConfig(
        count=facts.integer("moe_num_experts", "experts"),
        per_token=facts.integer("moe_k", "experts"),
        intermediate_size=facts.integer("moe_intermediate_size", "size"),
        normalize=True,
        first_layer=_or_zero(facts, "moe_layer_start_index"),
        last_layer=None if last == -1 else _or_zero(facts, "moe_layer_end_index"),
        interval=facts.integer("moe_layer_interval", "layers", 1),
        least_sum=facts.number("moe_norm_min") if has_norm else 1e-12,
        shared=_or_zero(facts, "moe_num_shared_experts") > 0,
    )


def _grok(facts: Facts, count: str, per_token: str, widths: tuple[str, str]) -> ExpertConfig:
    """Grok's, from values of these names: of a softmax over all experts, whose products may have a
    cap. Where a file does not state the first of the widths, experts have that of the second.
    """
    width = widths[0] if facts.values.get(widths[0]) is not None else widths[1]
    return ExpertConfig(
        count=facts.integer(count, "experts"),
        per_token=facts.integer(per_token, "experts"),
        intermediate_size=facts.integer(width, "size"),
        normalize=False,
        softcap=router_cap(facts),
    )


def _llama4(facts: Facts) -> ExpertConfig:
    """Llama 4's: chosen by products, whose sigmoids weigh what an expert reads."""
    layers = range(facts.integer("num_hidden_layers", "layers"))
    experts = replace(
        _LLAMA4,
        count=facts.integer("num_local_experts", "experts"),
        per_token=facts.integer("num_experts_per_tok", "experts", 1),
        intermediate_size=facts.integer("intermediate_size", "size"),
        interval=facts.integer("interleave_moe_layer_step", "layers", 1),
    )
    stated = facts.values.get("moe_layers")
    if stated is not None and stated != [i for i in layers if experts.in_layer(i)]:
        raise UnsupportedModel(
            f"{facts.where}: moe_layers is {str(stated)[:60]!r}, and only the last layer of each "
            f"{experts.interval} (interleave_moe_layer_step) with experts is supported"
        )
    return experts


def experts_from_gguf(facts: Facts, family: str) -> ExpertConfig | None:
    """From GGUF metadata without the family's prefix."""
    values = facts.values
    if not values.get("expert_count"):
        return None
    if family == GROK_GGUF:
        widths = "expert_feed_forward_length", "feed_forward_length"
        experts = _grok(facts, "expert_count", "expert_used_count", widths)
        return _checked(experts, facts.where)
    if family == "llama4":
        return _checked(_llama4_gguf(facts), facts.where)
    is_ernie = family == "ernie4_5-moe"
    gating = values.get("expert_gating_func", 0)
    scoring = _GGUF_SCORINGS.get(gating) if isinstance(gating, int) else None
    if scoring is None:
        raise UnsupportedModel(
            f"{facts.where}.expert_gating_func is {str(gating)[:60]!r}, which is not supported yet"
        )
    has_groups = values.get("expert_group_count", 0) not in (0, 1)
    return _checked(
        ExpertConfig(
            count=facts.integer("expert_count", "experts"),
            per_token=facts.integer("expert_used_count", "experts"),
            intermediate_size=facts.integer("expert_feed_forward_length", "size"),
            normalize=facts.flag("expert_weights_norm", family in _RENORMALIZED),
            scoring=scoring,
            groups=facts.integer("expert_group_count", "experts") if has_groups else 1,
            top_groups=facts.integer("expert_group_used_count", "experts") if has_groups else 1,
            sums_two=scoring == "sigmoid",
            scale=facts.number("expert_weights_scale") if values.get(_SCALE) else 1.0,
            first_layer=_or_zero(facts, "leading_dense_block_count"),
            interval=facts.integer("interleave_moe_layer_step", "layers", 1),
            least_sum=1e-12 if is_ernie else 0.0,
            shared=is_ernie and _or_zero(facts, "expert_shared_count") > 0,
            limit=GPT_LIMIT if family == "gpt-oss" else 0.0,
        ),
        facts.where,
    )


def _llama4_gguf(facts: Facts) -> ExpertConfig:
    return replace(
        _LLAMA4,
        count=facts.integer("expert_count", "experts"),
        per_token=facts.integer("expert_used_count", "experts"),
        intermediate_size=facts.integer("expert_feed_forward_length", "size"),
        interval=facts.integer("interleave_moe_layer_step", "layers", 1),
    )


_SCALE = "expert_weights_scale"


def _or_zero(facts: Facts, key: str) -> int:
    """A number of layers or the like; files may leave it out where it is 0."""
    return facts.integer(key, "layers") if facts.values.get(key) else 0


def _checked(experts: ExpertConfig, where: str) -> ExpertConfig:
    if experts.per_token > experts.count:
        raise BadFile(
            f"{where}: {experts.per_token} experts for each token of only {experts.count}"
        )
    size = experts.count // experts.groups
    if (
        experts.count % experts.groups
        or not experts.per_token <= size * experts.top_groups <= experts.count
        or (experts.sums_two and experts.groups > 1 and size < 2)
    ):
        raise BadFile(
            f"{where}: {experts.per_token} experts for each token from {experts.top_groups} of "
            f"{experts.groups} groups do not fit {experts.count} experts"
        )
    return experts
