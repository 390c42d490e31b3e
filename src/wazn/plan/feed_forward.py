"""The feed-forward part of every family, as matrices: dense, a mixture of experts, or both.

Reads which layers have experts, how many, how large, and what stands beside them. Knows nothing of
how a router scores.
"""

from __future__ import annotations

from dataclasses import dataclass

from wazn.plan.attention import num_layers
from wazn.plan.facts import Facts
from wazn.plan.shape import Experts, Role, Weights

COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
PER_TOKEN = ("num_experts_per_tok", "moe_k")
SHARED_COUNTS = ("n_shared_experts", "moe_num_shared_experts")


@dataclass(frozen=True, slots=True)
class Variant:
    """What sets a family's feed-forward apart.

    ``router_bias``: a number per expert. ``expert_biases``: vectors in every expert.
    ``always_shared``: every layer with experts has one more that all tokens take (Llama 4).
    """

    router_bias: bool = False
    expert_biases: bool = False
    always_shared: bool = False


@dataclass(frozen=True, slots=True)
class FeedForward:
    """The feed-forward of all layers."""

    weights: tuple[Weights, ...]
    experts: Experts | None = None


def feed_forward(facts: Facts, variant: Variant) -> FeedForward:
    """All layers, as the configuration and the family's variant have them."""
    layers, hidden = num_layers(facts), facts.integer("hidden_size")
    if not any(facts.has(name) for name in COUNTS):
        return FeedForward(_gated("dense", facts.integer("intermediate_size"), hidden, layers))
    sparse = sparse_layers(facts, layers)
    experts = Experts(facts.integer(*COUNTS), facts.integer(*PER_TOKEN))
    if experts.per_token > experts.count:
        raise facts.bad(
            next(name for name in PER_TOKEN if facts.has(name)), f"more than {experts.count}"
        )
    size = facts.integer("moe_intermediate_size", "intermediate_size")
    inner = facts.integer("moe_hidden_size", default=hidden)  # experts of a narrower space
    weights = [
        *_gated("expert", size, inner, sparse * experts.count),
        Weights("router", experts.count, hidden, sparse),
        *_shared(facts, variant, hidden, sparse),
    ]
    if inner != hidden or facts.has("moe_hidden_size"):
        weights += [
            Weights("shared", inner, hidden, 2 * sparse),
            Weights("vector", 2, inner, sparse),
        ]
    if variant.router_bias:
        weights.append(Weights("vector", 1, experts.count, sparse))
    if variant.expert_biases:
        weights.append(Weights("vector", experts.count, 2 * size + inner, sparse))
    if layers > sparse:
        dense = facts.integer("intermediate_size_mlp", "intermediate_size")
        weights += _gated("dense", dense, hidden, layers - sparse)
    return FeedForward(tuple(weights), experts)


def sparse_layers(facts: Facts, layers: int) -> int:
    """How many layers have experts, by whichever rule the configuration states."""
    kinds = facts.texts("mlp_layer_types", layers)
    if kinds is not None:
        return layers - kinds.count("dense")
    indices = range(layers)
    if facts.has("first_k_dense_replace"):
        first = facts.integer("first_k_dense_replace", least=0)
        step = facts.integer("moe_layer_freq", default=1)
        return sum(index >= first and index % step == 0 for index in indices)
    if facts.has("moe_layer_start_index"):
        first = facts.integer("moe_layer_start_index", least=0)
        last = facts.integer("moe_layer_end_index", default=layers - 1, least=-1)
        step = facts.integer("moe_layer_interval", default=1)
        last = layers - 1 if last == -1 else last
        return sum(first <= i <= last and (i + 1) % step == 0 for i in indices)
    step = facts.integer("interleave_moe_layer_step", "decoder_sparse_step", default=1)
    without = facts.values.get("mlp_only_layers") or []
    if not isinstance(without, list):
        raise facts.bad("mlp_only_layers", "not a list of layers")
    return sum((i + 1) % step == 0 and i not in without for i in indices)


def _shared(facts: Facts, variant: Variant, hidden: int, sparse: int) -> tuple[Weights, ...]:
    """Experts that every token takes, and the gate that some families put on them."""
    size = facts.integer("moe_intermediate_size", "intermediate_size")
    if variant.always_shared:
        return _gated("shared", size, hidden, sparse)
    count = facts.integer(*SHARED_COUNTS, default=0, least=0)
    if count:
        return _gated("shared", count * size, hidden, sparse)
    own_size = facts.integer("shared_expert_intermediate_size", default=0, least=0)
    if own_size:
        return (
            *_gated("shared", own_size, hidden, sparse),
            Weights("vector", 1, hidden, sparse),
        )
    return ()


def _gated(role: Role, size: int, hidden: int, count: int) -> tuple[Weights, ...]:
    """Gate, up and down of ``count`` gated units."""
    return (Weights(role, size, hidden, 2 * count), Weights(role, hidden, size, count))
