"""Rope settings of a configuration, and what GGUF files keep of them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden.tensors import Config, head_dim


def rope_parameters(config: Config) -> dict[str, Any]:
    """The rope settings in transformers 5's spelling, whichever one the configuration uses."""
    if "rope_parameters" in config:
        return dict(config["rope_parameters"])
    legacy = dict(config.get("rope_scaling") or {})
    kind = legacy.pop("type", legacy.pop("rope_type", "default"))
    return {"rope_type": kind, "rope_theta": config["rope_theta"], **legacy}


def rope_divisors(config: Config) -> NDArray[np.float32] | None:
    """What llama3 scaling divides each frequency by (head_dim / 2,), or None for other kinds."""
    rope = rope_parameters(config)
    if rope["rope_type"] != "llama3":
        return None
    size = head_dim(config)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    divisors = []
    for index in range(size // 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (2 * index / size)
        position = rope["original_max_position_embeddings"] / wavelength
        share = min(max((position - low) / (high - low), 0.0), 1.0)
        divisors.append(1 / ((1 - share) / rope["factor"] + share))
    return np.array(divisors, np.float32)
