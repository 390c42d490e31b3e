"""How sharp attention is, as a function of a query's position: factors of its scores.

Computed in float64 and rounded once to float32, in a table that grows with the longest sequence.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Temperature:
    """What the scores of the query at position p, from 0, are multiplied by.

    ``steps``: 1 + scale * ln(1 + floor((p + 1) / length)) (Llama 4, after Nakanishi 2025).
    ``logarithm``: log2(p) / log2(length) where p is more than ``length``, else 1 (Grok-2).
    """

    kind: Literal["steps", "logarithm"]
    length: float
    scale: float = 1.0

    def factors(self, num_positions: int) -> NDArray[np.float32]:
        """Of the first positions (num_positions,)."""
        positions = np.arange(num_positions, dtype=np.float64)
        if self.kind == "steps":
            made = 1 + self.scale * np.log1p(np.floor((positions + 1) / self.length))
        else:
            made = np.log2(np.maximum(positions, self.length)) / np.log2(self.length)
        return made.astype(np.float32)


class Factors:
    """A growing table of factors (positions,) float32."""

    def __init__(self, temperature: Temperature, context_length: int) -> None:
        self._temperature = temperature
        self._limit = context_length
        self.table = temperature.factors(min(context_length, 1024))

    def grow(self, num_positions: int) -> bool:
        """Make room for ``num_positions``; True if ``table`` is a new array now."""
        have = len(self.table)
        if num_positions <= have:
            return False
        wanted = max(num_positions, min(self._limit, 2 * have))
        self.table = self._temperature.factors(wanted)
        return True
