"""Which matrices of a model become integers when 8 or 4 bits are wanted.

Only those that the checkpoint keeps as floats: what it has in integers stays as it is, since
rounding twice would lose more. It refuses to know how rounding is done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from wazn.weights.choice import Weights
from wazn.weights.container import Container
from wazn.weights.loss import Loss
from wazn.weights.requantise import FLOATS, Requantised, target_format

_KEPT = re.compile(r".*\.(gate|router|shared_expert_gate|weights_proj)\.weight")
"""Small matrices that choose between others: never rounded."""

_BOTH_ENDS = ("model.embed_tokens.weight", "lm_head.weight")
"""Rounded to 8 bits when 4 are wanted: an error here is in every token."""


def requantised(
    container: Container, names: Mapping[str, str], weights: Weights, loss: Loss
) -> Container:
    """The container with its matrices of floats in as many bits as are wanted.

    ``names`` maps Hugging Face names to the container's. ``loss`` gets what rounding costs.
    """
    if weights == "native":
        return container
    formats = {}
    for name, source in names.items():
        info = container.tensors[source]
        if len(info.shape) < 2 or info.format not in FLOATS or _KEPT.fullmatch(name):
            continue
        format = target_format("q8" if name in _BOTH_ENDS else weights, info.columns)
        if format is not None:
            formats[source] = format
    return Requantised(container, formats, loss) if formats else container
