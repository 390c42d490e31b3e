"""Parts that only one family has: hyper-connections, n-gram tables, hashed routers, gates.

Each function reads a configuration and returns matrices beyond attention and feed-forward.
"""

from __future__ import annotations

from wazn.plan.attention import num_layers
from wazn.plan.facts import Facts
from wazn.plan.shape import Weights


def grok_residual(facts: Facts) -> tuple[Weights, ...]:
    """Grok-2's dense unit beside the experts of every layer."""
    if not facts.flag("residual_moe", False):
        return ()
    layers, hidden = num_layers(facts), facts.integer("hidden_size")
    size = facts.integer("intermediate_size")
    return (
        Weights("shared", size, hidden, 2 * layers),
        Weights("shared", hidden, size, layers),
    )


def hyper_connections(facts: Facts) -> tuple[Weights, ...]:
    """DeepSeek V4's mixing of residual streams, twice a layer and once at the end."""
    layers, streams = num_layers(facts), facts.integer("hc_mult")
    width = streams * facts.integer("hidden_size")
    mixed = streams * (2 + streams)  # what goes in, what comes out, stream to stream
    return (
        Weights("attention", mixed, width, 2 * layers),
        Weights("vector", 1, mixed + 3, 2 * layers),
        Weights("attention", streams, width),
        Weights("vector", 1, streams + 1),
    )


def hash_tables(facts: Facts) -> tuple[Weights, ...]:
    """DeepSeek V4's first layers look experts up by token; the others have a bias per expert."""
    layers = num_layers(facts)
    kinds = facts.texts("mlp_layer_types", layers)
    hashed = min(3, layers) if kinds is None else kinds.count("hash_moe")
    chosen = facts.integer("num_experts_per_tok")
    return (
        Weights("table", facts.integer("vocab_size"), chosen, hashed),
        Weights("vector", 1, facts.integer("n_routed_experts"), layers - hashed),
    )


def muse_gates(facts: Facts) -> tuple[Weights, ...]:
    """Muse Spark's gates on both residual sums of a layer."""
    return (Weights("vector", 1, facts.integer("hidden_size"), 2 * num_layers(facts)),)


def qwen4_parts(facts: Facts) -> tuple[Weights, ...]:
    """Qwen3.8-Flash-Next: streams instead of norms, an indexer, and a table of n-grams."""
    layers, hidden = num_layers(facts), facts.integer("hidden_size")
    streams, rank = facts.integer("hc_count"), facts.integer("hc_lowrank")
    width = streams * hidden
    kinds = facts.texts("layer_types", layers)
    interval = facts.integer("full_attention_interval", default=4)
    full = layers // interval if kinds is None else layers - kinds.count("linear_attention")
    size = facts.integer("indexer_head_dim")
    index_heads = facts.integer("indexer_n_heads") + facts.integer("indexer_kv_heads")
    return (
        Weights("attention", 2 * rank, width, 2 * layers + 1),
        Weights("attention", streams, width, 2 * layers),
        Weights("vector", 1, width, 2 * layers + 1),
        Weights("attention", index_heads * size, hidden, full),
        Weights("vector", 2, size, full),
        *_ngram_memory(facts, width),
    )


def _ngram_memory(facts: Facts, width: int) -> tuple[Weights, ...]:
    layers = facts.values.get("ple_layer_ids") or []
    if not isinstance(layers, list):
        raise facts.bad("ple_layer_ids", "not a list of layers")
    hidden, size = facts.integer("hidden_size"), facts.integer("ple_embed_dim")
    heads = facts.integer("heads_per_ngram") * (facts.integer("ngram_size") - 1)
    rows = heads * facts.integer("ngram_vocab_size_base")
    kernel = facts.integer("ple_conv_kernel_size", default=4)
    return (
        Weights("table", rows, size // heads, len(layers)),
        Weights("attention", width + hidden, size, len(layers)),
        Weights("vector", kernel + 3, width, len(layers)),
    )
