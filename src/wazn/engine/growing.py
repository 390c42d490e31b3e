"""A one-dimensional array that grows and shrinks at its end in amortised constant time.

Histories grow by one token a step: converting a Python list for every step would cost time that
rises with the length of the text.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", np.int32, np.float32)


class GrowingArray(Generic[Scalar]):
    """Starts as a copy of ``values`` (n,); ``view()`` is valid until the next ``append``."""

    def __init__(self, values: NDArray[Scalar]) -> None:
        self._buffer: NDArray[Scalar] = np.empty(len(values) + 64, dtype=values.dtype)
        self._buffer[: len(values)] = values
        self._length = len(values)

    def __len__(self) -> int:
        return self._length

    def append(self, value: float) -> None:
        if self._length == len(self._buffer):
            self._buffer = np.concatenate([self._buffer, np.empty_like(self._buffer)])
        self._buffer[self._length] = value
        self._length += 1

    def pop(self) -> int:
        """Remove the last value and return it as a whole number."""
        self._length -= 1
        return int(self._buffer[self._length])

    def view(self) -> NDArray[Scalar]:
        view: NDArray[Scalar] = self._buffer[: self._length]
        return view
