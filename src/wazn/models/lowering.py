"""Lowers what was recorded of a model to the program that the native core runs.

It decides, for all families at one place, what models need not think about: products of one input
form one operation, a residual sum is accumulated by the product that precedes it, activations are
quantised once per input in the form that its readers want, and buffers are reused when their
last reader is done. It refuses to know names of weights and of families.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from wazn import native
from wazn.errors import BadFile, UnsupportedModel
from wazn.models.operation import Operation, bytes_of, macs_of
from wazn.models.recorder import LOGITS, Choice, ExpertWeights, Recorder, Tensor

_LAYOUT_NAMES = {number: name for name, number in native.LAYOUTS.items()}
FLOATS = ("F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class Shape:
    """What the program needs to know besides the operations."""

    max_rows: int
    exact: bool
    num_layers: int
    num_kv_heads: int
    head_dim: int
    kv_format: str  # float32, float16 or int8
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
        self.operations: list[Operation] = []
        self.program = native.Program(
            pool,
            shape.max_rows,
            shape.exact,
            shape.num_layers,
            shape.num_kv_heads,
            shape.head_dim,
            shape.kv_format,
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

    def _say(
        self, what: str, text: str, weights: Sequence[native.Weight] = (), active: int = 1
    ) -> None:
        """Note what has just been recorded; of stacks of weights, ``active`` are read per row."""
        self.listing.append(f"  {text}")
        first = self.operations[-1].native.stop if self.operations else 0
        self.operations.append(
            Operation(
                what,
                text,
                range(first, self.program.num_operations),
                bytes_of(weights, active),
                macs_of(weights, active),
                is_head="logits =" in text,
            )
        )

    def _embed(self, node: Tensor) -> None:
        assert node.weight is not None
        out = self._allocate(node)
        self.program.embed(node.weight, out)
        self._say("embed", f"b{out} = embed {_describe(node.weight)}")

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
        self._say("rms_norm", f"b{out} = rms_norm b{before} ({node.heads} parts)")
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
        weights = [product[0] for product in products]
        what = f"linear {', '.join(map(_describe, weights))}"
        self._say(what, f"linear b{before}: {'; '.join(words)}", weights)
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
        self._say("silu(gate) * up", f"b{out} = silu(b{before}) * b{other}")
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
        self._say("add gated", f"b{out} += sigmoid(b{before}) * b{other}")
        self._release(inner, value)

    def _route(self, node: Tensor) -> None:
        assert isinstance(node.detail, Choice) and node.weight is not None
        (before,) = self._read(*node.inputs)
        out = self._allocate(node)
        self.program.route(before, node.weight, out, *node.detail)
        words = ", normalised" if node.detail.normalize else ""
        self._say(
            "route",
            f"b{out} = route b{before}: the {node.detail.per_token} largest of softmax "
            f"{_describe(node.weight)}{words}",
            [node.weight],
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
        text = f"b{inner} = experts b{before}: silu({_describe(gate)}) * {_describe(up)}"
        self._say("experts: gate and up", text, [gate, up], copies)
        self.program.experts_down(inner, down, out, residual is not None)
        text = f"experts b{inner}: b{out} {'+=' if residual else '='} {_describe(down)}"
        self._say("experts: down", text, [down], copies)
        for buffer in (inner, *([gathered] if gathered != native.NO_BUFFER else [])):
            self._free[self._keys[buffer]].append(buffer)
        self._release(*node.inputs)

    def _rope(self, node: Tensor) -> None:
        out = self._take_over(node, node.inputs[0])
        self.program.rope(out, node.heads, self._shape.head_dim, self._shape.rope_interleaved)
        self._say("rope", f"rope b{out} ({node.heads} heads)")

    def _attend(self, node: Tensor) -> None:
        query, key, value = self._read(*node.inputs)
        self.program.append_kv(key, value, self._layer)
        out = self._allocate(node)
        self.program.attend(query, out, self._layer, node.heads, node.number)
        text = f"b{out} = attend b{query} to layer {self._layer} (with b{key}, b{value})"
        self._say("attend", text)
        if self._form(node) != "none":
            self.program.quantize(out)
            self._say("quantize", f"quantize b{out}")
        self._layer += 1
        self._release(*node.inputs)

    def _gather(self, node: Tensor) -> None:
        (before,) = self._read(*node.inputs)
        out = self._allocate(node)
        self.program.gather(before, out)
        self._say("wanted rows", f"b{out} = wanted rows of b{before}")
        self._release(*node.inputs)

    def _emit(self, node: Tensor) -> None:
        (before,) = self._read(*node.inputs)
        self.program.emit(before)
        self._say("result", f"result = b{before}")
        self._release(*node.inputs)


def _describe(weight: native.Weight) -> str:
    stack = f"{weight.count} x " if weight.count > 1 else ""
    return f"{_LAYOUT_NAMES[weight.layout]} {stack}{weight.rows}x{weight.columns}"


class Lowered(NamedTuple):
    """A native program, a listing of it for people, and what each line of that stands for."""

    program: native.Program
    listing: Sequence[str]
    operations: Sequence[Operation]


def lower(recorder: Recorder, shape: Shape, pool: native.Pool) -> Lowered:
    """The native program of what was recorded."""
    lowering = Lowering(recorder, shape, pool)
    return Lowered(lowering.run(), lowering.listing, lowering.operations)
