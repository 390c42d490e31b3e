"""The ``quantization_config`` of a checkpoint, checked: what the readers of codes may rely on.

Values are hostile input. A setting that would change the meaning of the codes and is not known is
refused by name; settings of activations are not read, because activations are wazn's own affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wazn.errors import BadFile, UnsupportedModel
from wazn.weights.loss import Loss

REMEDY = "use another quantisation of this model, its GGUF files or its 16-bit weights"


@dataclass(frozen=True, slots=True)
class QuantisedSettings:
    """``values`` of the section, which stands in ``where``.

    ``as_floats``: what cannot keep its codes is wanted as float32, to be quantised anew; else it
    is kept in 16 bits, and ``loss`` gets what that costs.
    """

    where: str
    values: Mapping[str, Any]
    as_floats: bool = False
    loss: Loss = field(default_factory=Loss)

    @property
    def method(self) -> str:
        """The way of quantising, in lower case; BadFile when it is not stated."""
        value = self.values.get("quant_method")
        if not isinstance(value, str):
            raise BadFile(
                f"{self.where}: quantization_config.quant_method is {str(value)[:60]!r}, not a name"
            )
        return value.lower()

    def choice(self, key: str, allowed: Mapping[Any, str] | tuple[Any, ...], default: Any) -> Any:
        """A value that must be one of a few; UnsupportedModel otherwise."""
        value = self.values.get(key, default)
        hashable = isinstance(value, str | int | bool) or value is None
        if not hashable or value not in allowed:
            known = ", ".join(repr(item) for item in allowed)
            raise UnsupportedModel(
                f"{self.where}: quantization_config.{key} is {str(value)[:60]!r}, and of "
                f"{self.method} only {known} can be read; {REMEDY}"
            )
        return value


def refuse_codes(where: str, name: str, fact: str) -> UnsupportedModel:
    """The error for a matrix that cannot be kept as it is, but can be quantised anew."""
    return UnsupportedModel(
        f"{where}: {name} {fact}; --weights q8 or q4 quantises it anew, or {REMEDY}"
    )


def refuse(where: str, name: str, fact: str) -> UnsupportedModel:
    """The error for a matrix that cannot be read: which, why, what to do."""
    return UnsupportedModel(f"{where}: {name} {fact}; {REMEDY}")
