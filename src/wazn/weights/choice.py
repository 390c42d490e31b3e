"""How weights that a checkpoint keeps as floats are wanted; imported where nothing heavy may be."""

from typing import Literal

Weights = Literal["native", "q8", "q4"]

WEIGHTS: tuple[Weights, ...] = ("native", "q8", "q4")
