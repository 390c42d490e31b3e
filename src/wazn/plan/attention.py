"""The attention of every family, as matrices and caches: grouped, latent, recurrent, compressed.

Each function reads the facts of a configuration and returns the parts of all layers. The formulas
are those of the models' reference implementations; only their sizes matter here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from wazn.errors import BadFile
from wazn.plan.facts import MAX_LAYERS, Facts
from wazn.plan.shape import Cache, Weights

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Attention:
    """The attention of all layers: matrices, caches, and the state of recurrent layers."""

    weights: tuple[Weights, ...]
    caches: tuple[Cache, ...]
    state_bytes: int = 0
    state_macs: int = 0


@dataclass(frozen=True, slots=True)
class Variant:
    """What sets a family's grouped attention apart; numbers of vectors are per layer.

    ``biases``: of q, k, v, and ``output_bias`` of o. ``head_norms``: vectors of the size of a
    head. ``gated``: a gate for every number of the result. ``sinks``: a number per head.
    """

    biases: bool = False
    output_bias: bool = False
    head_norms: int = 0
    gated: bool = False
    sinks: bool = False


def num_layers(facts: Facts) -> int:
    """How many layers there are."""
    count = facts.integer("num_hidden_layers")
    if count > MAX_LAYERS:
        raise facts.bad("num_hidden_layers", f"more than {MAX_LAYERS}")
    return count


def head_size(facts: Facts) -> int:
    """The size of a head: stated, or the hidden size shared among the heads."""
    heads = facts.integer("num_attention_heads")
    return facts.integer("head_dim", default=max(1, facts.integer("hidden_size") // heads))


def grouped(facts: Facts, variant: Variant, layers: int | None = None) -> Attention:
    """Query heads in groups that share keys and values, in all layers or in ``layers``."""
    layers = num_layers(facts) if layers is None else layers
    hidden, size = facts.integer("hidden_size"), head_size(facts)
    queries = size * facts.integer("num_attention_heads")
    kv_heads = facts.integer("num_key_value_heads", "num_attention_heads")
    keys = size * kv_heads
    weights = [
        Weights("attention", queries, hidden, layers),
        Weights("attention", keys, hidden, 2 * layers),
        Weights("attention", hidden, queries, layers),
        Weights("vector", 1, size, variant.head_norms * layers),
    ]
    if variant.gated:
        weights.append(Weights("attention", queries, hidden, layers))
    if variant.biases:
        weights.append(Weights("vector", 1, queries + 2 * keys, layers))
    if variant.output_bias:
        weights.append(Weights("vector", 1, hidden, layers))
    if variant.sinks:
        weights.append(Weights("vector", 1, facts.integer("num_attention_heads"), layers))
    caches = tuple(
        Cache(count, 2 * keys, 2 * queries, 2 * kv_heads, window=window)
        for window, count in windows(facts, layers).items()
    )
    return Attention(tuple(weights), caches)


def windows(facts: Facts, layers: int) -> Counter[int | None]:
    """How many of the layers see only a window, by its positions; None: everything.

    A chunk (Llama 4) counts as the window that it is at most.
    """
    kinds = facts.texts("layer_types", layers) if num_layers(facts) == layers else None
    limited = {
        "sliding_attention": "sliding_window",
        "chunked_attention": "attention_chunk_size",
    }
    if kinds is None and facts.has("attention_chunk_size"):
        kinds = _kinds_of_llama4(facts, layers)
    if kinds is None:
        is_windowed = facts.has("sliding_window") and facts.flag("use_sliding_window", True)
        window = facts.integer("sliding_window", least=0) if is_windowed else 0
        full = _full_layers(facts, layers) if window else 0
        return Counter({None: full, window: layers - full} if full else {window or None: layers})
    return Counter(facts.integer(limited[kind]) if kind in limited else None for kind in kinds)


def _kinds_of_llama4(facts: Facts, layers: int) -> tuple[str, ...]:
    """Layers that rotate queries and keys see chunks: those that are stated, or three of four."""
    interval = facts.integer("no_rope_layer_interval", default=4)
    flags = [(index + 1) % interval != 0 for index in range(layers)]
    stated = facts.values.get("no_rope_layers")
    if isinstance(stated, list) and len(stated) >= layers:
        flags = [bool(flag) for flag in stated[:layers]]
    return tuple("chunked_attention" if flag else "full_attention" for flag in flags)


def _full_layers(facts: Facts, layers: int) -> int:
    """How many of the layers see everything, where windows are stated and kinds of layers not."""
    family = facts.values.get("model_type")
    if family in ("qwen2", "qwen3"):
        return min(layers, facts.integer("max_window_layers", default=28, least=0))
    return layers // 2 if family == "gpt_oss" else 0


def latent(facts: Facts) -> Attention:
    """DeepSeek's: one latent vector for all heads, multiplied in its absorbed form.

    With ``index_topk`` (V3.2), an indexer with keys of its own chooses what is attended to.
    """
    layers, hidden = num_layers(facts), facts.integer("hidden_size")
    heads = facts.integer("num_attention_heads")
    rank, rope = facts.integer("kv_lora_rank"), facts.integer("qk_rope_head_dim")
    nope, value = facts.integer("qk_nope_head_dim"), facts.integer("v_head_dim")
    weights = [
        *_latent_queries(facts, heads * (nope + rope), layers),
        Weights("attention", rank + rope, hidden, layers),
        Weights("attention", heads * (nope + value), rank, layers),
        Weights("attention", hidden, heads * value, layers),
        Weights("vector", 1, rank, layers),
    ]
    chosen = None
    caches = []
    if facts.has("index_topk"):
        chosen = facts.integer("index_topk")
        index_heads, size = facts.integer("index_n_heads"), facts.integer("index_head_dim")
        weights += [
            Weights("attention", index_heads * size, facts.integer("q_lora_rank"), layers),
            Weights("attention", size + index_heads, hidden, layers),
            Weights("vector", 2, size, layers),
        ]
        caches.append(Cache(layers, size, index_heads * size, 1))
    macs = heads * (rank + rope + rank)
    caches.append(Cache(layers, rank + rope, macs, 1, chosen=chosen))
    return Attention(tuple(weights), tuple(caches))


def _latent_queries(facts: Facts, rows: int, layers: int) -> list[Weights]:
    """Queries through a latent vector of their own where there is one (``q_lora_rank``)."""
    hidden = facts.integer("hidden_size")
    if not facts.has("q_lora_rank"):
        return [Weights("attention", rows, hidden, layers)]
    rank = facts.integer("q_lora_rank")
    return [
        Weights("attention", rank, hidden, layers),
        Weights("attention", rows, rank, layers),
        Weights("vector", 1, rank, layers),
    ]


def recurrent(facts: Facts) -> Attention:
    """Gated delta rule in most layers, gated grouped attention in the others (Qwen3-Next, 3.5)."""
    layers = num_layers(facts)
    kinds = facts.texts("layer_types", layers)
    interval = facts.integer("full_attention_interval", default=4)
    full = layers // interval if kinds is None else layers - kinds.count("linear_attention")
    linear = layers - full
    hidden = facts.integer("hidden_size")
    key_size = facts.integer("linear_key_head_dim")
    value_size = facts.integer("linear_value_head_dim")
    key_heads, heads = (facts.integer(f"linear_num_{name}_heads") for name in ("key", "value"))
    kernel = facts.integer("linear_conv_kernel_dim", default=4)
    values = heads * value_size
    channels = 2 * key_heads * key_size + values
    softmax = grouped(facts, Variant(head_norms=2, gated=True), full)
    weights = (
        Weights("attention", channels + values, hidden, linear),
        Weights("attention", 2 * heads, hidden, linear),
        Weights("attention", hidden, values, linear),
        Weights("vector", kernel, channels, linear),
        Weights("vector", 1, 2 * heads + value_size, linear),
    )
    state = heads * key_size * value_size
    return Attention(
        (*softmax.weights, *weights),
        _indexed(facts, softmax.caches, full) if facts.has("indexer_budget") else softmax.caches,
        state_bytes=linear * FLOAT_BYTES * (state + (kernel - 1) * channels),
        state_macs=linear * 4 * state,  # decay, read, write, read: one each per number
    )


def _indexed(facts: Facts, caches: tuple[Cache, ...], full: int) -> tuple[Cache, ...]:
    """The caches of layers that attend to the best blocks only, and the keys that find them."""
    budget = facts.integer("indexer_budget")
    size, heads = facts.integer("indexer_head_dim"), facts.integer("indexer_n_heads")
    block = facts.integer("indexer_compress_ratio")  # a block of positions is scored at once
    return (
        *(replace(cache, chosen=budget) for cache in caches),
        Cache(full, size, max(1, heads * size // block), 1),
    )


def compressed(facts: Facts) -> Attention:
    """DeepSeek V4's: one vector is key and value of all heads; far positions are pooled.

    Every layer sees a window of single positions; by its kind also all groups of many positions
    (heavily compressed), or those of a few positions that an indexer chooses (compressed sparse).
    """
    layers, hidden = num_layers(facts), facts.integer("hidden_size")
    heads, size = facts.integer("num_attention_heads"), facts.integer("head_dim")
    groups, rank = facts.integer("o_groups"), facts.integer("o_lora_rank")
    heavy, sparse = _compressed_layers(facts, layers)
    weights = [
        *_latent_queries(facts, heads * size, layers),
        Weights("attention", size, hidden, layers),
        Weights("attention", rank * groups, heads * size // groups, layers),
        Weights("attention", hidden, rank * groups, layers),
        Weights("vector", 1, size + heads, layers),
    ]
    macs = 2 * heads * size
    caches = [Cache(layers, size, macs, 1, window=facts.integer("sliding_window"))]
    for rate, count in heavy.items():
        weights += _pooling(rate, size, size, hidden, count)
        caches.append(Cache(count, size, macs, 1, positions=rate))
    for rate, count in sparse.items():
        index_heads, index_size = facts.integer("index_n_heads"), facts.integer("index_head_dim")
        weights += [
            *_pooling(rate, 2 * size, size, hidden, count),
            *_pooling(rate, 2 * index_size, index_size, hidden, count),
            Weights("attention", index_heads, hidden, count),
            Weights("attention", index_heads * index_size, facts.integer("q_lora_rank"), count),
        ]
        chosen = facts.integer("index_topk")
        caches += [
            Cache(count, size, macs, 1, positions=rate, chosen=chosen),
            Cache(count, index_size, index_heads * index_size, 1, positions=rate),
        ]
    return Attention(tuple(weights), tuple(caches))


def _pooling(rate: int, features: int, size: int, hidden: int, count: int) -> list[Weights]:
    """A pooled key's values and gates, the weight of every slot, and its norm."""
    return [
        Weights("attention", features, hidden, 2 * count),
        Weights("vector", rate, features, count),
        Weights("vector", 1, size, count),
    ]


def _compressed_layers(facts: Facts, layers: int) -> tuple[Counter[int], Counter[int]]:
    """Rates of the heavily compressed and of the compressed sparse layers, with their numbers."""
    ratios = facts.integers("compress_ratios", layers)
    if ratios is not None:  # the checkpoint's own spelling: 0 window only, 4 sparse, else heavy
        return (
            Counter(ratio for ratio in ratios if ratio > 4),
            Counter(ratio for ratio in ratios if 0 < ratio <= 4),
        )
    kinds = facts.texts("layer_types", layers) or ()
    rates = facts.nested("compress_rates")
    if rates is None:
        raise BadFile(f"{facts.where} states neither compress_ratios nor compress_rates.")
    found = []
    for kind in ("heavily_compressed_attention", "compressed_sparse_attention"):
        count = kinds.count(kind)
        found.append(Counter({rates.integer(kind): count} if count else {}))
    return found[0], found[1]
