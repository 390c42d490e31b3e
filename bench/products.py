"""Matrix products by themselves: every kind of weights at several numbers of rows.

    python -m bench.products [--kinds Q4_0 Q4_K …] [--rows 1 2 4 8 128] [--megabytes 300]

Multiplies random activations of 2048 columns with random weights, on as many threads as wazn would
take. Before each product of up to four rows, which memory bounds, as much memory is read by a loop
that fetches ahead; the share is of what the loop read, the median of all pairs. ``--megabytes 0``:
weights that stay in the second-level caches, which shows what the kernels compute at most.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np

from wazn import native
from wazn.cli.console import print_table
from wazn.machine import read_cpu
from wazn.weights.formats import Format

COLUMNS = 2048
CACHED_BYTES = 300_000  # of each thread
WORK = 2e9  # products in one measurement of cached weights
KINDS = ("Q4_0", "Q4_1", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "MXFP4", "F16")


def random_weight(format: Format, num_rows: int, random: np.random.Generator) -> native.Weight:
    """Blocks of random bits, with scales of 1 (``value``: numbers between -1 and 1)."""
    blocks = np.zeros((num_rows, COLUMNS // format.block_size), format.layout)
    bits = random.integers(0, 256, (num_rows, blocks.shape[1] * format.block_bytes), np.uint8)
    blocks.view(np.uint8)[:] = bits.reshape(blocks.view(np.uint8).shape)
    for name in format.layout.names or ():
        if name in ("d", "m"):
            blocks[name] = 1
        elif name == "exponent":
            blocks[name] = 127
        elif name == "value":
            blocks[name] = random.uniform(-1, 1, blocks.shape)
    layout = native.LAYOUTS[format.name]
    memory = native.Memory.allocate(native.packed_bytes(layout, num_rows, COLUMNS))
    native.pack(layout, blocks.view(np.uint8).reshape(num_rows, -1), COLUMNS, memory.writable())
    return native.Weight.create(memory, 0, layout, num_rows, COLUMNS)


class Product:
    """``rows`` rows of activations times one matrix."""

    def __init__(self, pool: native.Pool, weight: native.Weight, outputs: int, rows: int) -> None:
        self._rows = rows
        self._program = native.Program(pool, rows, False, 1, 1, 16, "float16", native.chosen_isa())
        x = self._program.buffer(COLUMNS, "narrow")
        out = self._program.buffer(outputs, "none")
        random = np.random.default_rng(1)
        self._program.floats(x)[:] = random.standard_normal(self._program.floats(x).shape)
        self._program.quantize(x)
        self._program.end_segment("quantise")
        self._program.linear(x, [(weight, None, out, False)])
        self._program.end_segment("product")
        self._program.open_cache(rows // 64 + 1)
        self._program.set_angles(np.zeros((rows, 8, 2), np.float32))  # there are so many positions
        self._run(0)

    def seconds(self, times: int) -> float:
        """Wall time of one of so many products in a row."""
        start = time.perf_counter()
        for _ in range(times):
            self._run(1)
        return (time.perf_counter() - start) / times

    def _run(self, segment: int) -> None:
        pages = np.arange(self._rows // 64 + 1, dtype=np.int32)
        self._program.run(
            segment,
            segment + 1,
            np.zeros(self._rows, np.int32),
            np.array([0, self._rows], np.int32),
            np.zeros(1, np.int32),
            pages[None],
            np.empty(0, np.int32),
            np.empty((0, 1), np.float32),
            np.zeros(1, np.int32),
        )


def measure(
    pool: native.Pool, format: Format, counts: list[int], megabytes: int, repeats: int
) -> list[list[str]]:
    """A table row for each number of rows."""
    layout = native.LAYOUTS[format.name]
    wanted = megabytes * 1_000_000 or CACHED_BYTES * pool.size
    outputs = max(1, wanted // native.packed_bytes(layout, 16, COLUMNS)) * 16
    num_bytes = native.packed_bytes(layout, outputs, COLUMNS)
    weight = random_weight(format, outputs, np.random.default_rng(0))
    table = []
    for rows in counts:
        product = Product(pool, weight, outputs, rows)
        macs = outputs * COLUMNS * rows
        times = 1 if megabytes else max(1, round(WORK / macs))
        seconds, shares = [], []
        for _ in range(repeats):
            read = pool.measure_bandwidth(num_bytes) if megabytes and rows <= 4 else 0.0
            seconds.append(product.seconds(times))
            if read:
                shares.append(num_bytes / seconds[-1] / read)
        row = [format.name, str(rows)]
        for best in (median(seconds), min(seconds)):
            row += [f"{macs / best / 1e9:.1f}", f"{num_bytes / best / 1e9:.1f}"]
        table.append([*row, f"{median(shares):.0%}" if shares else ""])
    return table


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 2, 4, 8, 128])
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=20)
    asked = parser.parse_args()
    pool = native.Pool(read_cpu().useful_threads)
    rows = []
    for kind in asked.kinds:
        rows += measure(pool, Format[kind], asked.rows, asked.megabytes, asked.repeats)
    print_table(
        ["weights", "rows", "GMAC/s", "GB/s", "at best", "GB/s", "of the loop's reading"], rows
    )


if __name__ == "__main__":
    main()
