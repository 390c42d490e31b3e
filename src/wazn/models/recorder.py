"""Records a model's mathematics once, and lowers it to the program that the native core runs.

A model file is called with symbolic tensors; each operation on them becomes a node. Lowering
decides, for all families at one place, what models need not think about: products of one input
form one operation, a residual sum is accumulated by the product that precedes it, activations are
quantised once per input in the forms that its readers want, and buffers are reused when their
last reader is done. It refuses to know names of weights and of families.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wazn import native
from wazn.errors import BadFile, UnsupportedModel

_LAYOUT_NAMES = {number: name for name, number in native.LAYOUTS.items()}
FLOATS = ("F32", "F16", "BF16")
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


@dataclass(frozen=True, slots=True)
class Shape:
    """What the program needs to know besides the operations."""

    max_rows: int
    exact: bool
    num_layers: int
    num_kv_heads: int
    head_dim: int
    half_kv: bool
    rope_interleaved: bool


class Lowering:
    """Turns recorded nodes into operations of a native program, one pass, in order."""

    def __init__(self, recorder: Recorder, shape: Shape, pool: native.Pool) -> None:
        self._recorder = recorder
        self._shape = shape
        self._readers: dict[Tensor, list[Tensor]] = defaultdict(list)
        for node in recorder.nodes:
            for tensor in node.inputs:
                self._readers[tensor].append(node)
        self._left = {node: len(self._readers[node]) for node in recorder.nodes}
        self._buffers: dict[Tensor, int] = {}
        self._free: dict[tuple[int, str, int], list[int]] = defaultdict(list)
        self._keys: dict[int, tuple[int, str, int]] = {}
        self._products: list[Tensor] = []
        self._layer = 0
        self.listing: list[str] = []
        self.program = native.Program(
            pool,
            shape.max_rows,
            shape.exact,
            shape.num_layers,
            shape.num_kv_heads,
            shape.head_dim,
            shape.half_kv,
            native.chosen_isa(),
        )

    def run(self) -> native.Program:
        ends = {count: name for name, count in self._recorder.segments}
        for count, node in enumerate(self._recorder.nodes, 1):
            if node.kind == "linear" and self._joins_products(node):
                self._products.append(node)
            elif node.kind not in ("silu", "sigmoid"):  # no operations of their own: see multiply
                self._flush_products()
                if node.kind == "linear":
                    self._products.append(node)
                else:
                    getattr(self, f"_{node.kind}")(node)
            if count in ends:
                self._flush_products()
                self.program.end_segment(ends[count])
                self.listing.append(f"segment {ends[count]}")
        return self.program

    # Buffers -------------------------------------------------------------------------------

    def _form(self, tensor: Tensor) -> str:
        """The quantised form that the readers of a tensor want.

        The head takes 16-bit activations: as it runs for few rows, which memory bounds, they cost
        nothing, and they halve the distance from exact arithmetic (docs/performance.md).
        """
        readers = [
            reader
            for reader in self._readers[tensor]
            if reader.inputs[0] is tensor and not all(map(self._is_float, reader.read_weights))
        ]
        if not readers:
            return "none"
        return "wide" if any(reader.heads == LOGITS for reader in readers) else "narrow"

    def _is_float(self, weight: native.Weight) -> bool:
        """Whether products with this weight read floats."""
        return self._shape.exact or _LAYOUT_NAMES[weight.layout] in FLOATS

    def _allocate(self, tensor: Tensor) -> int:
        buffer = self._buffer(tensor.columns, self._form(tensor))
        self._buffers[tensor] = buffer
        return buffer

    def _buffer(self, columns: int, form: str, copies: int = 1) -> int:
        key = (columns, form, copies)
        buffer = self._free[key].pop() if self._free[key] else self.program.buffer(*key)
        self._keys[buffer] = key
        return buffer

    def _read(self, *tensors: Tensor) -> list[int]:
        """The buffers of an operation's inputs; call ``_release`` when it is recorded."""
        return [self._buffers[tensor] for tensor in tensors]

    def _release(self, *tensors: Tensor) -> None:
        for tensor in tensors:
            self._left[tensor] -= 1
            if self._left[tensor] == 0:
                buffer = self._buffers[tensor]
                self._free[self._keys[buffer]].append(buffer)

    def _take_over(self, tensor: Tensor, source: Tensor) -> int:
        """Let ``tensor`` live where ``source`` lived, whose last reader it is."""
        if self._left[source] != 1:
            raise UnsupportedModel(f"{tensor.kind} in place of a value that is still needed")
        self._left[source] = 0
        self._buffers[tensor] = self._buffers[source]
        return self._buffers[tensor]

    # Operations ----------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self.listing.append(f"  {text}")

    def _embed(self, node: Tensor) -> None:
        assert node.weight is not None
        out = self._allocate(node)
        self.program.embed(node.weight, out)
        self._say(f"b{out} = embed {_describe(node.weight)}")

    def _norm(self, node: Tensor) -> None:
        assert node.vector is not None
        (source,) = node.inputs
        if len(node.vector) * node.heads != source.columns:
            raise BadFile(
                f"a norm of {len(node.vector)} weights meets {source.columns} columns in "
                f"{node.heads} parts"
            )
        (before,) = self._read(source)
        out = self._take_over(node, source) if node.heads > 1 else self._allocate(node)
        self.program.rms_norm(before, node.vector, node.number, node.heads, out)
        self._say(f"b{out} = rms_norm b{before} ({node.heads} parts)")
        if node.heads == 1:
            self._release(source)

    def _joins_products(self, node: Tensor) -> bool:
        return bool(self._products) and self._products[0].inputs == node.inputs

    def _flush_products(self) -> None:
        """One operation for all pending products of the same input."""
        if not self._products:
            return
        (source,) = self._products[0].inputs
        (before,) = self._read(source)
        products, words = [], []
        for node in self._products:
            assert node.weight is not None
            residual = self._residual(node)
            if node.kind == "linear" and node.heads == LOGITS:
                out = LOGITS
            elif residual is not None:
                out = self._take_over(self._readers[node][0], residual)
            else:
                out = self._allocate(node)
            products.append((node.weight, node.vector, out, residual is not None))
            words.append(
                f"{'logits' if out == LOGITS else f'b{out}'} {'+=' if residual else '='} "
                f"{_describe(node.weight)}{' + bias' if node.vector is not None else ''}"
            )
        self.program.linear(before, products)
        self._say(f"linear b{before}: {'; '.join(words)}")
        self._release(*(source for _ in self._products))
        self._products = []

    def _residual(self, product: Tensor) -> Tensor | None:
        """The tensor that this product's only reader adds it to."""
        readers = self._readers[product]
        if len(readers) != 1 or readers[0].kind != "add":
            return None
        left, right = readers[0].inputs
        return left if right is product else right

    def _add(self, node: Tensor) -> None:
        if node not in self._buffers:
            raise UnsupportedModel("only a residual and a linear product can be added")

    def _multiply(self, node: Tensor) -> None:
        gate, up = node.inputs
        if gate.kind == "sigmoid" and gate.columns == 1:
            return self._gated_residual(node)
        if gate.kind != "silu":
            raise UnsupportedModel("only silu(gate) * up can be multiplied")
        (inner,) = gate.inputs
        before, other = self._read(inner, up)
        out = self._allocate(node)
        self.program.swiglu(before, other, out)
        self._say(f"b{out} = silu(b{before}) * b{other}")
        self._release(inner, up)

    def _gated_residual(self, node: Tensor) -> None:
        gate, value = node.inputs
        residual = self._residual(node)
        if residual is None:
            raise UnsupportedModel("what a single sigmoid gates can only be added to a residual")
        (inner,) = gate.inputs
        before, other = self._read(inner, value)
        out = self._take_over(self._readers[node][0], residual)
        self.program.add_gated(before, other, out)
        self._say(f"b{out} += sigmoid(b{before}) * b{other}")
        self._release(inner, value)

    def _route(self, node: Tensor) -> None:
        assert isinstance(node.detail, Choice) and node.weight is not None
        (before,) = self._read(*node.inputs)
        out = self._allocate(node)
        self.program.route(before, node.weight, out, *node.detail)
        words = ", normalised" if node.detail.normalize else ""
        self._say(
            f"b{out} = route b{before}: the {node.detail.per_token} largest of softmax "
            f"{_describe(node.weight)}{words}"
        )
        self._release(*node.inputs)

    def _experts(self, node: Tensor) -> None:
        """Directly after its route: the native core keeps one choice at a time."""
        source, chosen = node.inputs
        assert isinstance(node.detail, ExpertWeights) and isinstance(chosen.detail, Choice)
        gate, up, down = node.detail
        copies = chosen.detail.per_token
        (before,) = self._read(source)
        gathered = native.NO_BUFFER
        if self._is_float(gate) or self._is_float(up):
            gathered = self._buffer(source.columns, "none", copies)
        form = "none" if self._is_float(down) else "narrow"
        inner = self._buffer(gate.rows, form, copies)
        residual = self._residual(node)
        if residual is None:
            out = self._allocate(node)
        else:
            out = self._take_over(self._readers[node][0], residual)
        self.program.experts_up(before, gathered, gate, up, inner)
        self._say(f"b{inner} = experts b{before}: silu({_describe(gate)}) * {_describe(up)}")
        self.program.experts_down(inner, down, out, residual is not None)
        self._say(f"experts b{inner}: b{out} {'+=' if residual else '='} {_describe(down)}")
        for buffer in (inner, *([gathered] if gathered != native.NO_BUFFER else [])):
            self._free[self._keys[buffer]].append(buffer)
        self._release(*node.inputs)

    def _rope(self, node: Tensor) -> None:
        out = self._take_over(node, node.inputs[0])
        self.program.rope(out, node.heads, self._shape.head_dim, self._shape.rope_interleaved)
        self._say(f"rope b{out} ({node.heads} heads)")

    def _attend(self, node: Tensor) -> None:
        query, key, value = self._read(*node.inputs)
        self.program.append_kv(key, value, self._layer)
        out = self._allocate(node)
        self.program.attend(query, out, self._layer, node.heads, node.number)
        self._say(f"b{out} = attend b{query} to layer {self._layer} (with b{key}, b{value})")
        if self._form(node) != "none":
            self.program.quantize(out)
            self._say(f"quantize b{out}")
        self._layer += 1
        self._release(*node.inputs)

    def _gather(self, node: Tensor) -> None:
        (before,) = self._read(*node.inputs)
        out = self._allocate(node)
        self.program.gather(before, out)
        self._say(f"b{out} = wanted rows of b{before}")
        self._release(*node.inputs)

    def _emit(self, node: Tensor) -> None:
        (before,) = self._read(*node.inputs)
        self.program.emit(before)
        self._say(f"result = b{before}")
        self._release(*node.inputs)


def _describe(weight: native.Weight) -> str:
    stack = f"{weight.count} x " if weight.count > 1 else ""
    return f"{_LAYOUT_NAMES[weight.layout]} {stack}{weight.rows}x{weight.columns}"


def lower(
    recorder: Recorder, shape: Shape, pool: native.Pool
) -> tuple[native.Program, Sequence[str]]:
    """The native program of what was recorded, and a listing of it for people."""
    lowering = Lowering(recorder, shape, pool)
    return lowering.run(), lowering.listing
