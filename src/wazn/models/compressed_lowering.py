"""Lowers attention over a window and compressed rows; each kind of row gets a store of pages."""

from __future__ import annotations

from wazn import native
from wazn.models.buffers import BufferedLowering, Shape
from wazn.models.compressed import Compressor
from wazn.models.recorder import Recorder, Tensor


class CompressedLowering(BufferedLowering):
    """The operations of ``compressed``."""

    def __init__(self, recorder: Recorder, shape: Shape, pool: native.Pool) -> None:
        super().__init__(recorder, shape, pool)
        self._stores: dict[Tensor, int] = {}  # of compressed rows

    def _compress(self, node: Tensor) -> None:
        how = node.detail
        assert isinstance(how, Compressor)
        values, gates = self._read(*node.inputs)
        store = self.program.latent_store(node.columns, 0, how.rate)
        self.program.compress(
            values,
            gates,
            store,
            how.rate,
            how.overlaps,
            how.biases.reshape(-1),
            how.weight,
            how.eps,
            how.rotated,
            how.table,
        )
        self._stores[node] = store
        self._say("compress", f"store {store} = b{values} by b{gates}, {how.rate} rows to one")
        self._release(*node.inputs)

    def _select_entries(self, node: Tensor) -> None:
        """Directly before the attention that uses it: the native core keeps one selection."""
        *asked, keys = node.inputs
        query, weights = self._read(*asked)
        store = self._stores[keys]
        self.program.select(query, weights, store, node.columns, node.number)
        text = f"select {node.columns} rows of store {store} by b{query}, b{weights}"
        self._say("select rows", text)
        self._release(*asked)

    def _attend_window(self, node: Tensor) -> None:
        assert isinstance(node.detail, tuple)
        sinks, window = node.detail
        query, vector, *others = node.inputs
        before, kept = self._read(query, vector)
        store = self.program.latent_store(vector.columns, 0)
        self.program.append_latent(kept, native.NO_BUFFER, store)
        entries = self._stores[others[0]] if others else None
        options = {
            "is_selected": len(others) > 1,
            "window": window,
            "entries": entries,
            "sinks": sinks,
        }
        out = self._allocate(node)
        self.program.attend_latent(
            before, native.NO_BUFFER, out, store, node.heads, node.number, options
        )
        besides = "" if entries is None else f" and store {entries}"
        text = f"b{out} = attend b{before} to {window} positions{besides} (with b{kept})"
        self._say("attend to a window", text)
        self._quantize(node)
        self._release(query, vector)
