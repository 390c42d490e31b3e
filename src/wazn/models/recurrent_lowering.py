"""Lowers linear attention; each operation with a state gets room in a sequence's slot."""

from __future__ import annotations

import numpy as np

from wazn.models.buffers import BufferedLowering
from wazn.models.recorder import Tensor
from wazn.models.recurrent import DeltaGates, Heads

_LENGTH_EPS = 1e-6  # added to the squared length of queries and keys (Qwen3-Next)


class RecurrentLowering(BufferedLowering):
    """The operations of ``recurrent``."""

    def _causal_conv(self, node: Tensor) -> None:
        assert node.vector is not None
        out = self._take_over(node, node.inputs[0])
        weight = np.ascontiguousarray(node.vector)
        self.program.causal_conv(out, weight.reshape(-1), len(weight))
        self._say("convolve", f"convolve b{out} with the last {len(weight)} rows, silu")

    def _unit_length(self, node: Tensor) -> None:
        out = self._take_over(node, node.inputs[0])
        self.program.unit_length(out, node.heads, _LENGTH_EPS, node.number)
        self._say("unit length", f"unit length b{out} ({node.heads} heads)")

    def _delta_rule(self, node: Tensor) -> None:
        assert isinstance(node.detail, tuple)
        gates, heads = node.detail
        assert isinstance(gates, DeltaGates) and isinstance(heads, Heads)
        query, key, value, decay, beta = self._read(*node.inputs)
        self.program.delta_gates(decay, beta, gates.rate, gates.bias)
        out = self._allocate(node)
        self.program.delta_rule(query, key, value, decay, beta, out, heads.keys, heads.tiled)
        self._say(
            "delta rule",
            f"b{out} = delta rule of b{query}, b{key}, b{value}, gates b{decay}, b{beta} "
            f"({heads.keys} key and {heads.values} value heads)",
        )
        self._quantize(node)
        self._release(*node.inputs)
