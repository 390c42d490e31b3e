"""Which sampling a request gets: its own parameters over the model's generation defaults.

The defaults come from a checkpoint's ``generation_config.json`` or metadata and are checked like
any other part of a file that others wrote. A model without defaults is sampled from its
distribution as it is: temperature 1, no filters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wazn.engine.params import SamplingParams
from wazn.errors import BadFile, BadRequest

_FIELDS = ("temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty")


@dataclass(frozen=True, slots=True)
class Sampling:
    """The numbers the sampler works with; every field has its neutral value as default."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0


def check_defaults(stated: Mapping[str, float | int]) -> dict[str, float | int]:
    """The sampling fields among a model's generation defaults; BadFile if one is illegal.

    ``do_sample: false`` is how Hugging Face files state that a model wants greedy decoding.
    """
    fields = {name: stated[name] for name in _FIELDS if stated.get(name) is not None}
    try:
        SamplingParams(**fields)  # type: ignore[arg-type]  # the constructor checks the values
    except BadRequest as error:
        raise BadFile(f"the model's generation defaults are damaged: {error}") from None
    if stated.get("do_sample", True) is False:
        fields["temperature"] = 0
    return fields


def resolve(params: SamplingParams, defaults: Mapping[str, float | int]) -> Sampling:
    """Fill what ``params`` leaves open from checked ``defaults``, then with neutral values.

    A request that asks for temperature 0 asks for the plain argmax, so no default joins in.
    """
    chosen = {} if params.temperature == 0 else dict(defaults)
    for name in _FIELDS:
        value = getattr(params, name)
        if value is not None:
            chosen[name] = value
    return Sampling(
        **chosen,  # type: ignore[arg-type]  # names and ranges were checked above
        presence_penalty=params.presence_penalty,
        frequency_penalty=params.frequency_penalty,
    )
