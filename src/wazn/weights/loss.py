"""What weights lost where their format could not be kept: measured, never assumed.

Errors are added up while weights are packed, by what became of them. It refuses to know why a
format was not kept.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from math import sqrt

import numpy as np
from numpy.typing import NDArray


class Loss:
    """Sums of squares of errors and of weights, by kind of change; filled by several threads."""

    def __init__(self, sums: Mapping[str, tuple[float, float]] | None = None) -> None:
        found = {} if sums is None else sums
        self._sums = {kind: (float(error), float(power)) for kind, (error, power) in found.items()}
        self._lock = threading.Lock()

    def add(self, kind: str, exact: NDArray[np.float32], kept: NDArray[np.float32]) -> None:
        """Compare weights with what is kept of them, both of one shape."""
        values = exact.ravel().astype(np.float64)  # whose squares do not overflow
        difference = kept.ravel() - values
        error, power = float(difference @ difference), float(values @ values)  # of one slab
        with self._lock:
            before = self._sums.get(kind, (0.0, 0.0))
            self._sums[kind] = before[0] + error, before[1] + power

    @property
    def sums(self) -> dict[str, tuple[float, float]]:
        """Kind → sum of squared errors, sum of squared weights; in the order of their names."""
        with self._lock:
            return dict(sorted(self._sums.items()))

    def relative_errors(self) -> dict[str, float]:
        """Kind → root of the mean squared error over that of the weights."""
        return {
            kind: sqrt(error / power) if power else 0.0
            for kind, (error, power) in self.sums.items()
        }

    def describe(self) -> str | None:
        """A sentence for the user, or None if nothing was lost."""
        errors = self.relative_errors().items()
        parts = [f"{kind} {_percent(error)}" for kind, error in errors if error]
        if not parts:
            return None
        return f"Relative error of the weights (root mean square): {', '.join(parts)}."


def _percent(share: float) -> str:
    return f"{share:.2%}" if share >= 0.001 else f"{share:.1e}"
