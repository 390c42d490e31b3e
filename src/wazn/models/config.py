"""What a checkpoint says about its architecture: frozen facts, nothing guessed.

Read from a Hugging Face ``config.json`` or from GGUF metadata; the model files read nothing else.
A value that the mathematics needs and the checkpoint does not state is an error, not a default,
unless the format itself defines one. Every value is checked: a checkpoint is hostile input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from wazn.errors import BadFile, UnsupportedModel
from wazn.models.compressed_config import FAMILY as COMPRESSED_FAMILY
from wazn.models.compressed_config import (
    CompressedConfig,
    compressed_from_huggingface,
    rope_settings,
)
from wazn.models.delta_config import (
    DeltaConfig,
    delta_from_gguf,
    delta_from_huggingface,
    rotary_from_huggingface,
)
from wazn.models.expert_config import ExpertConfig, experts_from_gguf, experts_from_huggingface
from wazn.models.grok_config import (
    GrokConfig,
    check_activation,
    grok_from_gguf,
    grok_from_huggingface,
)
from wazn.models.latent_config import (
    LatentConfig,
    latent_from_gguf,
    latent_from_huggingface,
    log_multiplier,
)
from wazn.models.llama4_config import Llama4Config, llama4_from_gguf, llama4_from_huggingface
from wazn.models.temperature import Temperature
from wazn.models.window_config import Windows, windows_from_gguf, windows_from_huggingface

_LARGEST = {
    "layers": 4096,
    "heads": 65536,
    "experts": 4096,
    "size": 1 << 24,
    "context": 1 << 30,
}
"""Far beyond any model, small enough that no sum or product of them overflows."""
_SMALLEST = 1e-38  # of numbers that are not 0 in float32, nearly; the largest is its inverse

_HEAD_SIZES = {"gpt_oss": 64, "seed_oss": 128}  # of files that do not say, by transformers


# Whose Hugging Face files have the numbers that are rotated together side by side.
_INTERLEAVED = ("ernie4_5", "ernie4_5_moe", "llama4_text")


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Frequency scaling of rotary embeddings; ``factors`` are ready divisors (GGUF)."""

    kind: Literal["none", "linear", "llama3", "yarn", "factors"] = "none"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context_length: int = 0
    attention_factor: float | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    mscales: tuple[float, float] | None = None  # of angles, and of what scores are scaled by
    factors: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """The facts of one checkpoint. Lengths are in tokens, sizes in elements."""

    family: str
    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    context_length: int
    norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling
    rope_interleaved: bool
    experts: ExpertConfig | None = None
    latent: LatentConfig | None = None
    rotary_dim: int | None = None  # how much of a head is rotated; None: all of it
    delta: DeltaConfig | None = None
    compressed: CompressedConfig | None = None
    second_rope: tuple[float, RopeScaling] | None = None  # theta and scaling of another table
    norm_offset: float = 0.0  # added to the weights of norms, where they are kept around 0
    llama4: Llama4Config | None = None
    grok: GrokConfig | None = None
    temperature: Temperature | None = None  # of attention that is tempered
    windows: Windows = ()  # of each layer: how far back its attention sees; (): all do all

    def window(self, layer: int) -> int | None:
        """How many positions a layer's attention sees, its own the last; None: all."""
        return self.windows[layer] if self.windows else None

    def rope_tables(self) -> tuple[Config, ...]:
        """The config with the rope settings of each table of angles."""
        if self.second_rope is None:
            return (self,)
        theta, scaling = self.second_rope
        return self, replace(self, rope_theta=theta, rope_scaling=scaling)


@dataclass(frozen=True, slots=True)
class Facts:
    """Reads named values of a configuration, checking type and range."""

    where: str
    values: Mapping[str, Any]

    def of(self, what: str, values: Mapping[str, Any]) -> Facts:
        """The facts of a nested object."""
        return Facts(f"{self.where}: {what}", values)

    def integer(self, key: str, limit: str, default: int | None = None) -> int:
        value = self.values.get(key, default)
        if type(value) is not int or not 1 <= value <= _LARGEST[limit]:
            raise BadFile(
                f"{self.where}: {key} is {str(value)[:60]!r}, not a whole number from 1 to "
                f"{_LARGEST[limit]}"
            )
        return value

    def gguf_layers(self) -> int:
        """How many layers a GGUF file has, without those of a draft head behind them."""
        count = self.integer("block_count", "layers")
        drafts = self.values.get("nextn_predict_layers", 0)
        if type(drafts) is not int or not 0 <= drafts < count:
            raise BadFile(
                f"{self.where}: nextn_predict_layers is {str(drafts)[:60]!r} of {count} layers"
            )
        return count - drafts

    def number(self, key: str, default: float | None = None) -> float:
        value = self.values.get(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None or not is_number or not _SMALLEST < value < 1 / _SMALLEST:
            raise BadFile(f"{self.where}: {key} is {str(value)[:60]!r}, not a positive number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise BadFile(f"{self.where}: {key} is {str(value)[:60]!r}, not true or false")
        return default if value is None else value

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str):
            raise BadFile(f"{self.where}: {key} is {str(value)[:60]!r}, not a name")
        return value


def checked(config: Config, where: str) -> Config:
    """The same config, if its numbers fit together; raises BadFile otherwise."""
    if config.num_heads % config.num_kv_heads:
        raise BadFile(
            f"{where}: {config.num_heads} attention heads cannot share {config.num_kv_heads} "
            "KV heads"
        )
    if config.latent is None and (config.head_dim % 16 or config.head_dim > 1024):
        raise UnsupportedModel(
            f"{where}: heads of size {config.head_dim} are not supported; a multiple of 16 up to "
            "1024 is"
        )
    return config


def from_huggingface(values: Mapping[str, Any], where: str, vocab_size: int) -> Config:
    """Config from ``config.json``; the vocabulary's size is the embedding's number of rows."""
    facts = Facts(where, values)
    num_heads = facts.integer("num_attention_heads", "heads")
    hidden_size = facts.integer("hidden_size", "size")
    if values.get("head_dim") is None:
        head_dim = _HEAD_SIZES.get(facts.text("model_type"), hidden_size // num_heads)
    else:
        head_dim = facts.integer("head_dim", "size")
    check_activation(facts)
    context_length = facts.integer("max_position_embeddings", "context")
    rope, second_rope = _ropes(facts, context_length)
    experts = experts_from_huggingface(facts)
    config = Config(
        family=facts.text("model_type"),
        num_layers=facts.integer("num_hidden_layers", "layers"),
        hidden_size=hidden_size,
        intermediate_size=_intermediate_size(facts, "intermediate_size", experts),
        num_heads=num_heads,
        num_kv_heads=facts.integer("num_key_value_heads", "heads", num_heads),
        head_dim=head_dim,
        vocab_size=vocab_size,
        context_length=context_length,
        norm_eps=facts.number("rms_norm_eps"),
        rope_theta=Facts(where, rope).number("rope_theta", 10000.0),
        rope_scaling=_scaling_from_huggingface(rope, where, context_length),
        rope_interleaved=values["model_type"] in _INTERLEAVED,
        experts=experts,
        second_rope=second_rope,
        windows=windows_from_huggingface(facts),
    )
    return checked(_with_special_layers(config, facts, rope), where)


def _with_special_layers(config: Config, facts: Facts, rope: Mapping[str, Any]) -> Config:
    """The config with what it says about layers other than grouped-query attention."""
    if latent := latent_from_huggingface(facts, rope):
        is_interleaved = facts.values.get("rope_interleave") is not False
        return replace(
            config, latent=latent, rotary_dim=latent.rotary, rope_interleaved=is_interleaved
        )
    if compressed := compressed_from_huggingface(facts, config.head_dim):
        return replace(config, compressed=compressed, rotary_dim=compressed.rotary)
    if grok := grok_from_huggingface(facts, config.head_dim):
        return replace(config, grok=grok, temperature=grok.temperature)
    if llama4 := llama4_from_huggingface(facts):
        return replace(config, llama4=llama4, temperature=llama4.temperature)
    if delta := delta_from_huggingface(facts):
        rotary = rotary_from_huggingface(facts, rope, config.head_dim)
        return replace(config, delta=delta, rotary_dim=rotary, norm_offset=1.0)
    return config


def _ropes(
    facts: Facts, context_length: int
) -> tuple[Mapping[str, Any], tuple[float, RopeScaling] | None]:
    """The rope settings, and theta and scaling of a second table if the family has one."""
    rope = _rope_values(facts.values, facts.where)
    if facts.values.get("model_type") == "gpt_oss" and not {"rope_type", "type"} & rope.keys():
        raise BadFile(f"{facts.where} states no scaling of rope, which this family has")
    if facts.values.get("model_type") != COMPRESSED_FAMILY:
        return rope, None
    main, second = rope_settings(facts.values, rope)
    theta = facts.of("rope settings", second).number("rope_theta")
    return main, (theta, _scaling_from_huggingface(second, facts.where, context_length))


def _rope_values(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Rope settings of both styles of config.json in one dictionary."""
    merged: dict[str, Any] = {}
    if values.get("rope_theta") is not None:
        merged["rope_theta"] = values["rope_theta"]
    for key in ("rope_scaling", "rope_parameters"):
        nested = values.get(key)
        if nested is None:
            continue
        if not isinstance(nested, Mapping):
            raise BadFile(f"{where}: {key} is {str(nested)[:60]!r}, not an object")
        merged.update(nested)
    return merged


def _scaling_from_huggingface(
    rope: Mapping[str, Any], where: str, context_length: int
) -> RopeScaling:
    facts = Facts(f"{where}: rope settings", rope)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return RopeScaling()
    factor = facts.number("factor")
    if kind == "linear":
        return RopeScaling("linear", factor)
    original = facts.integer("original_max_position_embeddings", "context", context_length)
    if kind == "llama3":
        return RopeScaling(
            "llama3",
            factor,
            low_freq_factor=facts.number("low_freq_factor"),
            high_freq_factor=facts.number("high_freq_factor"),
            original_context_length=original,
        )
    if kind == "yarn":
        given = rope.get("attention_factor")
        has_mscales = rope.get("mscale") and rope.get("mscale_all_dim")
        return RopeScaling(
            "yarn",
            factor,
            original_context_length=original,
            attention_factor=None if given is None else facts.number("attention_factor"),
            beta_fast=facts.number("beta_fast", 32.0),
            beta_slow=facts.number("beta_slow", 1.0),
            truncate=rope.get("truncate", True) is not False,
            mscales=(facts.number("mscale"), facts.number("mscale_all_dim"))
            if has_mscales
            else None,
        )
    raise UnsupportedModel(f"{where}: rope scaling of type {str(kind)[:60]!r} is not supported")


def from_gguf(
    metadata: Mapping[str, Any],
    where: str,
    vocab_size: int,
    rope_interleaved: bool,
    rope_factors: tuple[float, ...],
) -> Config:
    """Config from GGUF metadata. ``rope_factors`` come from the tensor ``rope_freqs.weight``."""
    family = Facts(where, metadata).text("general.architecture")
    prefix = f"{family}."
    values = {k.removeprefix(prefix): v for k, v in metadata.items() if k.startswith(prefix)}
    facts = Facts(f"{where}: {family}", values)
    num_heads = facts.integer("attention.head_count", "heads")
    hidden_size = facts.integer("embedding_length", "size")
    head_dim = facts.integer("attention.key_length", "size", max(1, hidden_size // num_heads))
    context_length = facts.integer("context_length", "context")
    experts = experts_from_gguf(facts, family)
    config = Config(
        family=family,
        num_layers=facts.gguf_layers(),
        hidden_size=hidden_size,
        intermediate_size=_intermediate_size(facts, "feed_forward_length", experts),
        num_heads=num_heads,
        num_kv_heads=facts.integer("attention.head_count_kv", "heads", num_heads),
        head_dim=head_dim,
        vocab_size=vocab_size,
        context_length=context_length,
        norm_eps=facts.number("attention.layer_norm_rms_epsilon"),
        rope_theta=facts.number("rope.freq_base", 10000.0),
        rope_scaling=_scaling_from_gguf(facts, rope_factors, family),
        rope_interleaved=rope_interleaved,
        experts=experts,
        windows=windows_from_gguf(facts, family),
    )
    return checked(_with_special_layers_of_gguf(config, facts), where)


def _with_special_layers_of_gguf(config: Config, facts: Facts) -> Config:
    latent = latent_from_gguf(facts, config.family)
    delta = delta_from_gguf(facts, config.family)
    if latent or delta:
        rotary = facts.integer("rope.dimension_count", "size")
        return replace(config, latent=latent, delta=delta, rotary_dim=rotary)
    if grok := grok_from_gguf(facts, config.family, config.head_dim):
        # llama.cpp's converter calls Grok-2's unscaled angles yarn.
        config = replace(config, rope_scaling=RopeScaling())
        config = replace(config, grok=grok, temperature=grok.temperature)
    if llama4 := llama4_from_gguf(facts, config.family):
        config = replace(config, llama4=llama4, temperature=llama4.temperature)
    for key in ("rope.dimension_count", "attention.value_length"):
        if (value := facts.values.get(key, config.head_dim)) != config.head_dim:
            raise UnsupportedModel(
                f"{facts.where}.{key} is {str(value)[:60]}, and only the head size "
                f"{config.head_dim} is supported"
            )
    return config


def _intermediate_size(facts: Facts, key: str, experts: ExpertConfig | None) -> int:
    """The width of a layer's network; files of models with nothing but experts may leave it out."""
    return facts.integer(key, "size", None if experts is None else experts.intermediate_size)


def _scaling_from_gguf(facts: Facts, factors: tuple[float, ...], family: str) -> RopeScaling:
    kind = facts.values.get("rope.scaling.type", "none")
    if factors:
        return RopeScaling("factors", factors=factors)
    if kind == "none":
        if "rope.scale_linear" in facts.values:
            return RopeScaling("linear", facts.number("rope.scale_linear"))
        return RopeScaling()
    factor = facts.number("rope.scaling.factor")
    if kind == "linear":
        return RopeScaling("linear", factor)
    if kind == "yarn":
        context = facts.integer("context_length", "context")
        original = facts.integer("rope.scaling.original_context_length", "context", context)
        return RopeScaling(
            "yarn",
            factor,
            original_context_length=original,
            beta_fast=facts.number("rope.scaling.yarn_beta_fast", 32.0),
            beta_slow=facts.number("rope.scaling.yarn_beta_slow", 1.0),
            truncate=family != "gpt-oss",  # there is no key for it
            mscales=_mscales(facts),
        )
    raise UnsupportedModel(f"{facts.where}.rope.scaling.type {str(kind)[:60]!r} is not supported")


def _mscales(facts: Facts) -> tuple[float, float] | None:
    """GGUF has one number for both; it is written by models whose two are the same, or 1."""
    if "rope.scaling.yarn_log_multiplier" not in facts.values:
        return None
    return log_multiplier(facts), log_multiplier(facts)
