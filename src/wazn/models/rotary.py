"""The angles of rotary embeddings: cosines and sines per position, with frequency scaling.

Computed in float64 and rounded once to float32, in a table that grows with the longest sequence.
Formulas: RoPE (Su 2021), linear scaling (Chen 2023), YaRN (Peng 2023), Llama 3.1 (Meta 2024).
"""

import math

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.models.config import Config, RopeScaling


def frequencies(config: Config) -> tuple[NDArray[np.float64], float]:
    """Radians per position, (rotated / 2,) float64, and the factor of cosines and sines."""
    half = _width(config) // 2
    plain = config.rope_theta ** (-np.arange(half, dtype=np.float64) / half)
    scaling = config.rope_scaling
    match scaling.kind:
        case "linear":
            return plain / scaling.factor, 1.0
        case "factors":
            if len(scaling.factors) != half:
                raise BadFile(f"rope_freqs.weight has {len(scaling.factors)} elements, not {half}")
            return plain / np.array(scaling.factors, np.float64), 1.0
        case "llama3":
            return _llama3(plain, scaling), 1.0
        case "yarn":
            return _yarn(plain, config), _yarn_attention_factor(scaling)
    return plain, 1.0


def _llama3(plain: NDArray[np.float64], scaling: RopeScaling) -> NDArray[np.float64]:
    """Long wavelengths are slowed by the factor, short ones kept, those between blended."""
    turns = scaling.original_context_length * plain / (2 * math.pi)  # in the original context
    width = scaling.high_freq_factor - scaling.low_freq_factor
    keep = np.clip((turns - scaling.low_freq_factor) / width, 0.0, 1.0) if width > 0 else turns > 1
    blended: NDArray[np.float64] = (1 - keep) * plain / scaling.factor + keep * plain
    return blended


def _yarn(plain: NDArray[np.float64], config: Config) -> NDArray[np.float64]:
    scaling, width = config.rope_scaling, _width(config)

    def dimension(turns: float) -> float:
        """The dimension that makes this many turns within the original context."""
        ratio = scaling.original_context_length / (turns * 2 * math.pi)
        return width * math.log(ratio) / (2 * math.log(config.rope_theta))

    low, high = dimension(scaling.beta_fast), dimension(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    if low == high:
        high += 0.001
    ramp = np.clip((np.arange(width // 2) - low) / (high - low), 0.0, 1.0)
    blended: NDArray[np.float64] = plain * (1 - ramp) + plain / scaling.factor * ramp
    return blended


def _yarn_attention_factor(scaling: RopeScaling) -> float:
    if scaling.attention_factor is not None:
        return scaling.attention_factor
    if scaling.mscales is not None:
        of_angles, of_scores = scaling.mscales
        return _temperature(scaling.factor, of_angles) / _temperature(scaling.factor, of_scores)
    return _temperature(scaling.factor, 1.0)


def _temperature(factor: float, mscale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def _width(config: Config) -> int:
    """How many numbers of a head are rotated."""
    return config.head_dim if config.rotary_dim is None else config.rotary_dim


class Angles:
    """A growing table of (positions, rotated / 2, 2) float32: cosine and sine."""

    def __init__(self, config: Config) -> None:
        self._frequencies, self._factor = frequencies(config)
        self._limit = config.context_length
        self.table = self._computed(min(self._limit, 1024))

    def grow(self, num_positions: int) -> bool:
        """Make room for ``num_positions``; True if ``table`` is a new array now."""
        have = len(self.table)
        if num_positions <= have:
            return False
        wanted = max(num_positions, min(self._limit, 2 * have))
        self.table = self._computed(wanted)
        return True

    def _computed(self, num_positions: int) -> NDArray[np.float32]:
        radians = np.arange(num_positions)[:, None] * self._frequencies
        pairs = np.stack([np.cos(radians), np.sin(radians)], axis=-1) * self._factor
        return np.ascontiguousarray(pairs, np.float32)
