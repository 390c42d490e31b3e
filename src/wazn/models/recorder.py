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
    """How a router's scores become experts and their weights.

    A token takes ``per_token`` experts, of the ``top_groups`` best of ``groups`` groups of equal
    size; a group counts its best score, or (``sums_two``) its two best. ``normalize``: weights are
    divided by their sum, or by ``least_sum`` if that is more. Then ``scale`` multiplies them.
    With a ``softcap`` the router's products become softcap * tanh(product / softcap) first.
    ``by_logits``: the choice goes by the products, not by the scores. ``on_input``: a weight
    multiplies what its expert reads, not what it makes.
    """

    per_token: int
    normalize: bool
    scoring: str = "softmax"  # or "sigmoid", "sqrt_softplus"
    groups: int = 1
    top_groups: int = 1
    sums_two: bool = False
    scale: float = 1.0
    table: NDArray[np.int32] | None = None  # the experts of each token id, in place of a choice
    logit_bias: NDArray[np.float32] | None = None  # added to the router's products
    least_sum: float = 0.0
    softcap: float = 0.0
    by_logits: bool = False
    on_input: bool = False


class Rotation(NamedTuple):
    """Which numbers of a head are rotated: all, or the first or last of them."""

    width: int
    interleaved: bool
    at_end: bool = False
    inverse: bool = False
    table: int = 0


class ExpertWeights(NamedTuple):
    """Stacked matrices of a layer's experts: gate and up (width, hidden), down (hidden, width)."""

    gate: native.Weight
    up: native.Weight
    down: native.Weight


class ExpertBiases(NamedTuple):
    """Of the products of all experts in turn: (experts * width) twice, (experts * hidden)."""

    gate: NDArray[np.float32] | None = None
    up: NDArray[np.float32] | None = None
    down: NDArray[np.float32] | None = None


class Gate(NamedTuple):
    """How the gate of a network acts: ``silu``, ``gelu_tanh``, or ``clamped``.

    With a ``limit`` the gate is no larger, and what it gates is within it on both sides. Clamped:
    gate * sigmoid(1.702 * gate) * (up + 1), which needs a limit.
    """

    kind: str = "silu"
    limit: float = 0.0


SILU = Gate()


class ExpertNetworks(NamedTuple):
    """The networks of a layer's experts."""

    weights: ExpertWeights
    biases: ExpertBiases
    gate: Gate


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
    detail: object = None  # a NamedTuple that the kind of node knows

    @property
    def read_weights(self) -> tuple[native.Weight, ...]:
        """The weights that the first input is multiplied by."""
        if isinstance(self.detail, ExpertNetworks):
            return self.detail.weights[:2]
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
        detail: object = None,
    ) -> Tensor:
        tensor = Tensor(self, kind, columns, inputs, weight, vector, number, heads, detail)
        self.nodes.append(tensor)
        return tensor

    def end_segment(self, name: str) -> None:
        self.segments.append((name, len(self.nodes)))
