"""Lowers what was recorded of a model to the program that the native core runs.

It decides, for all families at one place, what models need not think about: products of one input
form one operation, a residual sum is accumulated by the product that precedes it, activations are
quantised once per input in the form that its readers want, and buffers are reused when their
last reader is done. It refuses to know names of weights and of families.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wazn import native
from wazn.errors import BadFile, UnsupportedModel
from wazn.models.attention import AttentionKind
from wazn.models.buffers import Shape, describe
from wazn.models.compressed_lowering import CompressedLowering
from wazn.models.latent_lowering import LatentLowering
from wazn.models.operation import Operation
from wazn.models.recorder import LOGITS, Choice, ExpertNetworks, Recorder, Rotation, Tensor
from wazn.models.recurrent_lowering import RecurrentLowering
from wazn.models.stream_lowering import StreamLowering

__all__ = ["Lowered", "Lowering", "Shape", "lower"]

GATES = ("silu", "gelu_tanh", "sigmoid")


class Lowering(LatentLowering, RecurrentLowering, CompressedLowering, StreamLowering):
    """Turns recorded nodes into operations of a native program, one pass, in order."""

    def __init__(self, recorder: Recorder, shape: Shape, pool: native.Pool) -> None:
        super().__init__(recorder, shape, pool)
        self._products: list[Tensor] = []
        self._layer = 0

    def run(self) -> native.Program:
        ends = {count: name for name, count in self._recorder.segments}
        for count, node in enumerate(self._recorder.nodes, 1):
            if node.kind == "linear" and self._joins_products(node):
                self._products.append(node)
            elif node.kind not in GATES:  # no operations of their own: see multiply
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

    def _embed(self, node: Tensor) -> None:
        assert node.weight is not None
        out = self._allocate(node)
        self.program.embed(node.weight, out)
        self._say("embed", f"b{out} = embed {describe(node.weight)}")

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
                f"{describe(node.weight)}{' + bias' if node.vector is not None else ''}"
            )
        self.program.linear(before, products)
        weights = [product[0] for product in products]
        what = f"linear {', '.join(map(describe, weights))}"
        self._say(what, f"linear b{before}: {'; '.join(words)}", weights)
        for node, product in zip(self._products, products, strict=True):
            if product[2] != LOGITS and not product[3]:
                self._quantize(node)
        self._release(*(source for _ in self._products))
        self._products = []

    def _add(self, node: Tensor) -> None:
        """What is no product accumulated to its residual is added in the place of the first."""
        first, second = node.inputs
        if node in self._buffers:
            return
        (other,) = self._read(second)
        out = self._take_over(node, first)
        self.program.add(other, out)
        self._say("add", f"b{out} += b{other}")
        self._release(second)

    def _scale(self, node: Tensor) -> None:
        (source,) = node.inputs
        is_result = source.heads == LOGITS
        assert isinstance(node.detail, float)
        x = LOGITS if is_result else self._take_over(node, source)
        self.program.scale(x, node.number, node.detail)
        words = f", up to {node.detail:g}" if node.detail else ""
        self._say("scale", f"{'logits' if is_result else f'b{x}'} *= {node.number:g}{words}")

    def _multiply(self, node: Tensor) -> None:
        gate, up = node.inputs
        if gate.kind == "sigmoid" and gate.columns == 1:
            return self._gated_residual(node)
        if gate.kind not in GATES:
            raise UnsupportedModel(f"only what {', '.join(GATES)} make can be multiplied")
        (inner,) = gate.inputs
        before, other = self._read(inner, up)
        is_in_place = self._is_gated(up, node)
        out = self._take_over(node, up) if is_in_place else self._allocate(node)
        if gate.kind == "sigmoid":
            self.program.sigmoid_gate(before, other, out)
        else:
            self.program.gated_product(before, other, out, gate.kind, gate.number)
        self._say(f"{gate.kind}(gate) * up", f"b{out} = {gate.kind}(b{before}) * b{other}")
        self._release(inner, *(() if is_in_place else (up,)))

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
        choice = node.detail
        options = choice._asdict() | {"bias": node.vector}
        self.program.route(before, node.weight, out, options.pop("per_token"), options)
        words = f" of the {choice.top_groups} best groups" if choice.groups > 1 else ""
        words += " + bias" if node.vector is not None else ""
        words += ", normalised" if choice.normalize else ""
        words += f", times {choice.scale:g}" if choice.scale != 1 else ""
        words += f", products up to {choice.softcap:g}" if choice.softcap else ""
        words += ", weighing what they read" if choice.on_input else ""
        matrix = describe(node.weight)
        matrix = matrix if choice.logit_bias is None else f"({matrix} + bias)"
        self._say(
            "route",
            f"b{out} = route b{before}: the {choice.per_token} largest of {choice.scoring} "
            f"{matrix}{words}",
            [node.weight],
        )
        self._release(*node.inputs)

    def _experts(self, node: Tensor) -> None:
        """Directly after its route: the native core keeps one choice at a time."""
        source, chosen = node.inputs
        assert isinstance(node.detail, ExpertNetworks) and isinstance(chosen.detail, Choice)
        (gate, up, down), biases, how = node.detail
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
        self.program.experts_up(before, gathered, gate, up, inner, *how, biases[:2])
        text = f"b{inner} = experts b{before}: {how.kind}({describe(gate)}) * {describe(up)}"
        self._say("experts: gate and up", text, [gate, up], copies)
        self.program.experts_down(inner, down, out, residual is not None, biases.down)
        text = f"experts b{inner}: b{out} {'+=' if residual else '='} {describe(down)}"
        self._say("experts: down", text, [down], copies)
        for buffer in (inner, *([gathered] if gathered != native.NO_BUFFER else [])):
            self._free[self._keys[buffer]].append(buffer)
        self._release(*node.inputs)

    def _rope(self, node: Tensor) -> None:
        head_dim = node.columns // node.heads
        turn = node.detail or Rotation(head_dim, self._shape.rope_interleaved)
        assert isinstance(turn, Rotation)
        out = self._take_over(node, node.inputs[0])
        offset = head_dim - turn.width if turn.at_end else 0
        self.program.rope(
            out,
            node.heads,
            head_dim,
            offset,
            turn.width,
            turn.interleaved,
            turn.inverse,
            turn.table,
        )
        words = "" if turn.width == head_dim else f", {turn.width} of {head_dim} columns"
        back = " back" if turn.inverse else ""
        self._say("rope", f"rope b{out}{back} ({node.heads} heads{words})")
        self._quantize(node)

    def _attend(self, node: Tensor) -> None:
        assert isinstance(node.detail, AttentionKind)
        how = node.detail
        query, key, value = self._read(*node.inputs)
        self.program.append_kv(key, value, self._layer)
        out = self._allocate(node)
        self.program.attend(
            query,
            out,
            self._layer,
            node.heads,
            node.number,
            how.window or 0,
            how.chunk or 0,
            how.softcap or 0.0,
            how.sinks,
            how.is_tempered,
        )
        words = f", the last {how.window} positions" if how.window else ""
        words += f", its chunk of {how.chunk} positions" if how.chunk else ""
        words += f", scores up to {how.softcap:g}" if how.softcap else ""
        words += ", tempered" if how.is_tempered else ""
        words += ", with sinks" if how.sinks is not None else ""
        text = f"b{out} = attend b{query} to layer {self._layer} (with b{key}, b{value}){words}"
        self._say("attend", text)
        self._quantize(node)
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


class Lowered(NamedTuple):
    """A native program, a listing of it for people, and what each line of that stands for."""

    program: native.Program
    listing: Sequence[str]
    operations: Sequence[Operation]


def lower(recorder: Recorder, shape: Shape, pool: native.Pool) -> Lowered:
    """The native program of what was recorded."""
    lowering = Lowering(recorder, shape, pool)
    return Lowered(lowering.run(), lowering.listing, lowering.operations)
