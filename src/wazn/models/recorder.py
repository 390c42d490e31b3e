"""Records a model's mathematics: a model file is called once with symbolic tensors, and each
operation on them becomes a node. What is made of the nodes is decided elsewhere (lowering).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wazn import native
from wazn.errors import BadFile

LOGITS = -1  # the buffer number of a step's result


class Choice(NamedTuple):
    """How many experts a token takes, and whether their weights are divided by their sum."""

    per_token: int
    normalize: bool


class ExpertWeights(NamedTuple):
    """Stacked matrices of a layer's experts: gate and up (width, hidden), down (hidden, width)."""

    gate: native.Weight
    up: native.Weight
    down: native.Weight


@dataclass(eq=False)
class Tensor:
    """A symbolic activation of shape (tokens, columns)."""

    recorder: Recorder = field(repr=False)
    kind: str
    columns: int
    inputs: tuple[Tensor, ...] = ()
    weight: native.Weight | None = None
    vector: NDArray[np.float32] | None = None
    number: float = 0.0
    heads: int = 0
    detail: Choice | ExpertWeights | None = None

    @property
    def read_weights(self) -> tuple[native.Weight, ...]:
        """The weights that the first input is multiplied by."""
        if isinstance(self.detail, ExpertWeights):
            return self.detail.gate, self.detail.up
        return () if self.weight is None else (self.weight,)

    def __add__(self, other: Tensor) -> Tensor:
        if self.columns != other.columns:
            raise BadFile(f"a residual of {self.columns} columns meets {other.columns} columns")
        return self.recorder.node("add", self.columns, (self, other))

    def __mul__(self, other: Tensor) -> Tensor:
        is_one_gate = self.kind == "sigmoid" and self.columns == 1
        if self.columns != other.columns and not is_one_gate:
            raise BadFile(f"a gate of {self.columns} columns meets {other.columns} columns")
        return self.recorder.node("multiply", other.columns, (self, other))


class Recorder:
    """Nodes in the order they were recorded, and where segments end."""

    def __init__(self) -> None:
        self.nodes: list[Tensor] = []
        self.segments: list[tuple[str, int]] = []  # name, number of nodes up to its end

    def node(
        self,
        kind: str,
        columns: int,
        inputs: tuple[Tensor, ...] = (),
        weight: native.Weight | None = None,
        vector: NDArray[np.float32] | None = None,
        number: float = 0.0,
        heads: int = 0,
        detail: Choice | ExpertWeights | None = None,
    ) -> Tensor:
        tensor = Tensor(self, kind, columns, inputs, weight, vector, number, heads, detail)
        self.nodes.append(tensor)
        return tensor

    def end_segment(self, name: str) -> None:
        self.segments.append((name, len(self.nodes)))
