"""Which attention and which feed-forward each family has: one row a family.

``read_shape`` turns a Hugging Face ``config.json`` into a shape, whether or not this version of
wazn can run the family. Draft heads (multi-token prediction), vision and audio are left out, as
they are when a model answers text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from wazn.errors import UnsupportedModel
from wazn.plan.attention import (
    Attention,
    Variant,
    compressed,
    grouped,
    latent,
    num_layers,
    recurrent,
)
from wazn.plan.extras import grok_residual, hash_tables, hyper_connections, muse_gates, qwen4_parts
from wazn.plan.facts import Facts
from wazn.plan.feed_forward import Variant as FeedForwardVariant
from wazn.plan.feed_forward import feed_forward
from wazn.plan.shape import Shape, Weights

PLAIN = FeedForwardVariant()


def _no_extras(facts: Facts) -> tuple[Weights, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Family:
    """``norms``: vectors of the hidden size in every layer. ``tied``: if nothing else is stated."""

    attention: Callable[[Facts], Attention]
    feed_forward: FeedForwardVariant = PLAIN
    norms: int = 2
    tied: bool = False
    extras: Callable[[Facts], tuple[Weights, ...]] = _no_extras


def _llama(facts: Facts) -> Attention:
    biased = facts.flag("attention_bias", facts.flag("use_bias", False))
    return grouped(
        facts, Variant(biases=biased, output_bias=facts.flag("attention_out_bias", biased))
    )


_qwen2 = partial(grouped, variant=Variant(biases=True))
_qwen3 = partial(grouped, variant=Variant(head_norms=2))
_oss = partial(grouped, variant=Variant(biases=True, output_bias=True, sinks=True))
_muse = partial(grouped, variant=Variant(gated=True))
_biased_router = FeedForwardVariant(router_bias=True)

FAMILIES: Mapping[str, Family] = {
    "llama": Family(_llama),
    "mistral": Family(_llama),
    "mixtral": Family(_llama),
    "llama4": Family(_llama, FeedForwardVariant(always_shared=True)),
    "qwen2": Family(_qwen2),
    "qwen2_moe": Family(_qwen2),
    "qwen3": Family(_qwen3),
    "qwen3_moe": Family(_qwen3),
    "qwen3_next": Family(recurrent),
    "qwen3_5": Family(recurrent),
    "qwen3_5_moe": Family(recurrent),
    "qwen4_exp": Family(recurrent, norms=0, extras=qwen4_parts),
    "seed_oss": Family(_llama),
    "ernie4_5": Family(_llama, tied=True),
    "ernie4_5_moe": Family(_llama, _biased_router, tied=True),
    "gpt_oss": Family(_oss, FeedForwardVariant(router_bias=True, expert_biases=True)),
    "grok": Family(_llama, norms=4, extras=grok_residual),
    "deepseek_v2": Family(latent),
    "deepseek_v3": Family(latent, _biased_router),
    "deepseek_v32": Family(latent, _biased_router),
    "deepseek_v4": Family(
        compressed, extras=lambda facts: (*hyper_connections(facts), *hash_tables(facts))
    ),
    "muse_glimmer": Family(_muse, norms=4),
    "muse_spark": Family(_muse, _biased_router, norms=3, extras=muse_gates),
}

SPELLINGS = {"grok-1": "grok", "git": "grok", "kimi_k2": "deepseek_v3"}
"""What some repositories write as model_type. Grok-2's says git, by mistake."""


def read_shape(values: Mapping[str, Any], where: str) -> Shape:
    """The shape that a ``config.json`` describes.

    Raises UnsupportedModel for a family that is not in the table, BadFile for facts that are
    missing or impossible.
    """
    facts = Facts(where, values)
    name = family_name(facts.values.get("model_type"))
    if name is None and (text := facts.nested("text_config")) is not None:
        return read_shape(text.values, text.where)
    inner = facts.nested("text_config")
    if inner is not None:  # the outer object of a model that also sees
        name, facts = family_name(inner.values.get("model_type")) or name, inner
    if name is None:
        stated = str(values.get("model_type"))[:60]
        raise UnsupportedModel(
            f"{where}: the family {stated!r} cannot be planned; known are {', '.join(FAMILIES)}."
        )
    return build_shape(name, facts)


def family_name(model_type: object) -> str | None:
    """The row of the table that a model_type means; None if there is none."""
    if not isinstance(model_type, str):
        return None
    name = SPELLINGS.get(model_type, model_type).removesuffix("_text")
    return name if name in FAMILIES else None


def build_shape(name: str, facts: Facts) -> Shape:
    """The shape of a family's configuration."""
    family = FAMILIES[name]
    layers, hidden = num_layers(facts), facts.integer("hidden_size")
    vocabulary = facts.integer("vocab_size")
    attention = family.attention(facts)
    mixture = feed_forward(facts, family.feed_forward)
    embedding = [Weights("head", vocabulary, hidden)]
    if not facts.flag("tie_word_embeddings", family.tied):
        embedding.append(Weights("embedding", vocabulary, hidden))
    norms = Weights("vector", 1, hidden, family.norms * layers + (1 if family.norms else 0))
    return Shape(
        family=name,
        num_layers=layers,
        hidden_size=hidden,
        vocab_size=vocabulary,
        context_length=facts.integer("max_position_embeddings"),
        weights=(
            *embedding,
            *(part for part in attention.weights if part.elements),
            *mixture.weights,
            *family.extras(facts),
            *((norms,) if norms.elements else ()),
        ),
        caches=attention.caches,
        experts=mixture.experts,
        state_bytes=attention.state_bytes,
        state_macs=attention.state_macs,
    )
