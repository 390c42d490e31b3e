"""A figure that is not known exactly: its middle, and how low and how high it may be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """``low <= middle <= high``, all in the same unit."""

    low: float
    middle: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.middle <= self.high:
            raise ValueError(f"{self.low}, {self.middle}, {self.high} are not in order")

    @classmethod
    def exactly(cls, value: float) -> Interval:
        """A figure that is known."""
        return cls(value, value, value)

    @classmethod
    def around(cls, value: float, share: float) -> Interval:
        """``value``, give or take a share of it below 1."""
        return cls(value * (1 - share), value, value * (1 + share))
