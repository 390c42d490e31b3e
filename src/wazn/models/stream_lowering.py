"""Lowers residuals of several streams."""

from __future__ import annotations

from wazn.models.buffers import BufferedLowering
from wazn.models.recorder import Tensor
from wazn.models.streams import HyperConfig


class StreamLowering(BufferedLowering):
    """The operations of ``streams``."""

    def _repeat(self, node: Tensor) -> None:
        (before,) = self._read(*node.inputs)
        out = self._allocate(node)
        self.program.repeat(before, out)
        self._say("repeat", f"b{out} = b{before} in every stream")
        self._release(*node.inputs)

    def _hyper_weights(self, node: Tensor) -> None:
        assert isinstance(node.detail, tuple)
        scales, biases, config = node.detail
        assert isinstance(config, HyperConfig)
        out = self._take_over(node, node.inputs[0])
        self.program.hyper_weights(
            out, config.streams, config.iterations, scales, biases, config.eps
        )
        self._say("stream weights", f"weights of {config.streams} streams b{out}")

    def _collapse(self, node: Tensor) -> None:
        streams, weights = self._read(*node.inputs)
        out = self._allocate(node)
        self.program.collapse(streams, weights, out)
        self._say("collapse streams", f"b{out} = streams b{streams} times b{weights}")
        self._release(*node.inputs)

    def _expand(self, node: Tensor) -> None:
        before, *others = node.inputs
        weights, result = self._read(*others)
        out = self._take_over(node, before)
        self.program.expand(out, weights, result)
        self._say("mix streams", f"streams b{out} mixed, with b{result}, by b{weights}")
        self._release(*others)
