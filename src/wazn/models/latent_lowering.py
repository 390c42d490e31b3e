"""Lowers latent attention: a product per head, and attention to a store of latent vectors."""

from __future__ import annotations

from wazn import native
from wazn.models.buffers import BufferedLowering, describe
from wazn.models.recorder import Tensor


class LatentLowering(BufferedLowering):
    """The operations of ``latent``."""

    def _per_head(self, node: Tensor) -> None:
        assert node.weight is not None
        (before,) = self._read(*node.inputs)
        out = self._allocate(node)
        self.program.grouped_linear(before, node.weight, out)
        what = f"per head {describe(node.weight)}"
        self._say(what, f"b{out} = {what} of b{before}", [node.weight], node.weight.count)
        self._quantize(node)
        self._release(*node.inputs)

    def _attend_latent(self, node: Tensor) -> None:
        inputs, is_selected = node.inputs[:4], len(node.inputs) > 4
        _, _, latent, key = inputs
        query, rotary, vector, turned = self._read(*inputs)
        store = self.program.latent_store(latent.columns, key.columns)
        self.program.append_latent(vector, turned, store)
        out = self._allocate(node)
        options = {"is_selected": is_selected, "window": 0, "entries": None, "sinks": None}
        self.program.attend_latent(query, rotary, out, store, node.heads, node.number, options)
        what = "selected latents" if is_selected else "latents"
        text = f"b{out} = attend b{query}, b{rotary} to {what} (with b{vector}, b{turned})"
        self._say("attend to latents", text)
        self._quantize(node)
        self._release(*inputs)

    def _select(self, node: Tensor) -> None:
        """Directly before the attention that uses it: the native core keeps one selection."""
        query, key, weights = self._read(*node.inputs)
        store = self.program.latent_store(node.inputs[1].columns, 0)
        self.program.append_latent(key, native.NO_BUFFER, store)
        self.program.select(query, weights, store, node.columns, node.number)
        text = f"select {node.columns} positions by b{query}, b{weights} (with b{key})"
        self._say("select positions", text)
        self._release(*node.inputs)

    def _layer_norm(self, node: Tensor) -> None:
        assert isinstance(node.detail, tuple)
        weight, bias = node.detail
        out = self._take_over(node, node.inputs[0])
        self.program.layer_norm(out, weight, bias, node.number)
        self._say("layer_norm", f"layer_norm b{out}")
