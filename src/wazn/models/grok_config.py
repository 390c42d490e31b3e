"""What a checkpoint says about Grok: multipliers, caps and temperatures.

Both readers return None for other families. They know config.json and GGUF metadata only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wazn.errors import BadFile, UnsupportedModel
from wazn.models.temperature import Temperature

if TYPE_CHECKING:
    from wazn.models.config import Facts

SECOND = "git"  # which Grok-2's configuration says, and so does that of a model that sees
HUGGINGFACE = ("grok-1", "grok", SECOND)
GGUF = "grok"
_GELU = ("gelu", "gelu_new", "gelu_pytorch_tanh")
_CAP = 30.0  # of scores of attention; of Grok-2's router, too
# Of Grok-1, whose older GGUF files do not state them.
_EMBEDDING_SCALE, _LOGIT_SCALE = 78.38367176906169, 0.5773502691896257


@dataclass(frozen=True, slots=True)
class GrokConfig:
    """``embedding_scale`` and ``logit_scale`` multiply embeddings and logits, ``score_scale`` the
    products of queries and keys. Caps are soft; 0: none. ``is_residual``: an ordinary network
    beside the experts; None: where there is one.
    """

    embedding_scale: float
    logit_scale: float
    logit_cap: float
    score_scale: float
    score_cap: float
    is_residual: bool | None
    temperature: Temperature | None


def is_grok(facts: Facts) -> bool:
    """Whether a ``config.json`` is Grok's; UnsupportedModel for what only has its type."""
    if facts.values.get("model_type") not in HUGGINGFACE:
        return False
    names = facts.values.get("architectures")
    is_named = isinstance(names, list) and any(str(name).startswith("Grok") for name in names)
    if facts.values["model_type"] == SECOND and not is_named:
        raise UnsupportedModel(
            f"{facts.where}: of models of the type {SECOND!r} only Grok-2 is supported, whose "
            f"architectures name it, not {str(names)[:60]!r}"
        )
    return True


def check_activation(facts: Facts) -> None:
    """That of Grok, or of every other family."""
    known = _GELU if is_grok(facts) else ("silu", "swish")
    if (act := facts.values.get("hidden_act", known[0])) not in known:
        raise UnsupportedModel(
            f"{facts.where}: hidden_act {str(act)[:60]!r} is not supported, {known[0]} is"
        )


def grok_from_huggingface(facts: Facts, head_dim: int) -> GrokConfig | None:
    """From ``config.json``."""
    if not is_grok(facts):
        return None
    _refuse_variants(facts)
    score_cap = "attn_logit_softcapping"
    if score_cap not in facts.values:
        score_cap = "max_attn_value"  # so the conversions of Grok-1 call it
    return GrokConfig(
        embedding_scale=facts.number("embedding_multiplier_scale"),
        logit_scale=facts.number("output_multiplier_scale"),
        logit_cap=_cap(facts, "final_logit_softcapping"),
        score_scale=facts.number("attn_output_multiplier", head_dim**-0.5),
        score_cap=_cap(facts, score_cap, _CAP),
        is_residual=facts.flag("residual_moe", False),
        temperature=_temperature(facts, "attn_temperature_len"),
    )


def _refuse_variants(facts: Facts) -> None:
    """What other files of the family might state, and no published one does."""
    values = facts.values
    plain: dict[str, tuple[object, ...]] = {
        "rope_type": ("original", "default"),
        "attn_logit_softcapping_method": ("tanh",),
        "rope_rotate_half_dims": (False,),
        "sliding_window_size": (-1, 0),
        "global_attn_every_n": (1,),
    }
    for key, known in plain.items():
        if values.get(key) is not None and values[key] not in known:
            raise UnsupportedModel(
                f"{facts.where}: {key} is {str(values[key])[:60]!r}; {known[0]!r} is supported"
            )


def router_cap(facts: Facts) -> float:
    """Of a router's products; the published source of Grok-1 has none."""
    default = _CAP if facts.values.get("model_type") == SECOND else 0.0
    return _cap(facts, "router_logit_softcapping", default)


def grok_from_gguf(facts: Facts, family: str, head_dim: int) -> GrokConfig | None:
    """From GGUF metadata without the family's prefix."""
    if family != GGUF:
        return None
    return GrokConfig(
        embedding_scale=facts.number("embedding_scale", _EMBEDDING_SCALE),
        logit_scale=facts.number("logit_scale", _LOGIT_SCALE),
        logit_cap=_cap(facts, "final_logit_softcapping"),
        score_scale=facts.number("attention.output_scale", head_dim**-0.5),
        score_cap=_cap(facts, "attn_logit_softcapping", _CAP),
        is_residual=None,
        temperature=_temperature(facts, "attention.temperature_length"),
    )


def _cap(facts: Facts, key: str, default: float = 0.0) -> float:
    """A cap, 0 where there is none."""
    stated = facts.values.get(key, default)
    return 0.0 if stated in (None, 0) else facts.number(key, default)


def _temperature(facts: Facts, key: str) -> Temperature | None:
    stated = facts.values.get(key)
    if stated in (None, 0, -1):
        return None
    length = facts.integer(key, "context")
    if length < 2:
        raise BadFile(f"{facts.where}: {key} is {length}, whose logarithm is no divisor")
    return Temperature("logarithm", length)
