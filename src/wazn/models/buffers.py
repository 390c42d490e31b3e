"""Buffers of a program that is being lowered: who reads a value, in which form, and until when.

The ground that the lowering of single operations stands on; it refuses to know operations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wazn import native
from wazn.errors import UnsupportedModel
from wazn.models.operation import Operation, bytes_of, macs_of
from wazn.models.recorder import LOGITS, Recorder, Tensor

_LAYOUT_NAMES = {number: name for name, number in native.LAYOUTS.items()}
FLOATS = ("F32", "F16", "BF16")
_IN_PLACE = ("rope", "causal_conv", "unit_length", "layer_norm", "hyper_weights", "expand", "scale")


@dataclass(frozen=True, slots=True)
class Shape:
    """What the program needs to know besides the operations."""

    max_rows: int
    exact: bool
    num_kv_heads: int
    head_dim: int
    kv_format: str  # float32, float16 or int8
    rope_interleaved: bool


class BufferedLowering:
    """A native program and the buffers of its operations, as they are recorded in order."""

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
        self.listing: list[str] = []
        self.operations: list[Operation] = []
        self.program = native.Program(
            pool,
            shape.max_rows,
            shape.exact,
            sum(node.kind == "attend" for node in recorder.nodes),
            shape.num_kv_heads,
            shape.head_dim,
            shape.kv_format,
            native.chosen_isa(),
        )

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
        tenants = list(self._tenants(tensor))
        readers = [reader for tenant in tenants for reader in self._readers[tenant]]
        parts = next((r.heads for r in readers if r.kind == "per_head"), 1)
        form = max(map(self._form, tenants), key=("none", "narrow", "wide").index)
        buffer = self._buffer(tensor.columns // parts, form, parts)
        self._buffers[tensor] = buffer
        return buffer

    def _tenants(self, tensor: Tensor) -> Iterator[Tensor]:
        """The tensor, and those that take over its buffer one after another."""
        yield tensor
        for reader in self._readers[tensor]:
            if self._is_gated(tensor, reader) or (
                reader.inputs[0] is tensor
                and (reader.kind in _IN_PLACE or (reader.kind == "norm" and reader.heads > 1))
            ):
                yield from self._tenants(reader)

    def _is_gated(self, tensor: Tensor, reader: Tensor) -> bool:
        """Whether the reader only multiplies the tensor by a gate, which it does in place."""
        if reader.kind != "multiply" or self._readers[tensor] != [reader]:
            return False
        gate, up = reader.inputs
        return up is tensor and gate.columns == up.columns

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

    def _quantize(self, tensor: Tensor) -> None:
        """Fill the quantised form of what an operation that does not do so has written."""
        if self._form(tensor) != "none":
            self.program.quantize(self._buffers[tensor])
            self._say("quantize", f"quantize b{self._buffers[tensor]}")

    def _residual(self, product: Tensor) -> Tensor | None:
        """The tensor that this product's only reader adds it to."""
        readers = self._readers[product]
        if len(readers) != 1 or readers[0].kind != "add":
            return None
        left, right = readers[0].inputs
        other = left if right is product else right
        return other if other in self._buffers else None  # what comes later adds itself


def describe(weight: native.Weight) -> str:
    stack = f"{weight.count} x " if weight.count > 1 else ""
    return f"{_LAYOUT_NAMES[weight.layout]} {stack}{weight.rows}x{weight.columns}"
