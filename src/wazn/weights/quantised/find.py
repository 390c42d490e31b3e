"""From a checkpoint's ``quantization_config`` to its matrices, by the names of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from wazn.errors import BadFile, UnsupportedModel
from wazn.weights.container import Container
from wazn.weights.elements import Elements
from wazn.weights.loss import Loss
from wazn.weights.quantised import awq, compressed, float8, gptq, mxfp4
from wazn.weights.quantised.made import Made, Maker
from wazn.weights.quantised.settings import REMEDY, QuantisedSettings
from wazn.weights.safetensors import Safetensors

Finder = Callable[[Elements, QuantisedSettings], Iterator[Maker]]

FINDERS: Mapping[str, tuple[Finder, ...]] = {
    "fp8": (float8.find, mxfp4.find),  # DeepSeek V4 has experts of 4-bit floats
    "fbgemm_fp8": (float8.find,),
    "mxfp4": (mxfp4.find,),
    "gptq": (gptq.find,),
    "awq": (awq.find,),
    "compressed-tensors": (compressed.find,),
}


def make_weights(
    container: Safetensors, config: Mapping[str, Any], where: str, loss: Loss | None
) -> Container:
    """The container with quantised matrices under their ordinary names.

    ``config`` is that of the model, read from ``where``. ``loss`` gets what keeping 8-bit floats
    in 16 bits costs; without one, they become float32, to be quantised anew. Raises
    UnsupportedModel for a way of quantising that cannot be read, BadFile for one that is broken.
    """
    section = config.get("quantization_config")
    if section is None:
        return container
    if not isinstance(section, Mapping):
        raise BadFile(f"{where}: quantization_config is {str(section)[:60]!r}, not an object")
    settings = QuantisedSettings(where, section, as_floats=loss is None, loss=loss or Loss())
    finders = FINDERS.get(settings.method)
    if finders is None:
        raise UnsupportedModel(
            f"{where}: weights quantised with {settings.method[:60]!r} cannot be read, those of "
            f"{', '.join(FINDERS)} can; {REMEDY}"
        )
    makers = [maker for find in finders for maker in find(container.elements, settings)]
    return Made(container, makers)
