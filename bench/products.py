"""Matrix products by themselves: every kind of weights at several numbers of rows.

    python -m bench.products [--kinds Q4_0 Q4_K …] [--rows 1 2 4 8 128] [--megabytes 300] [--wide]

Multiplies random activations of 2048 columns with random weights, on as many threads as wazn would
take. Before each product of up to four rows, which memory bounds, as much memory is read by a loop
that fetches ahead or not, as is faster; the share is of what it read, the median of all pairs.
``--megabytes 0``: weights that stay in the second-level caches, which shows what the kernels
compute at most. ``--wide``: activations of 16 bits, which the vocabulary head has.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np

from tests.native.programs import packed, random_raw, run_again
from wazn import native
from wazn.cli.console import print_table
from wazn.machine import read_cpu
from wazn.weights.formats import Format

COLUMNS = 2048
CACHED_BYTES = 300_000  # of each thread
WORK = 2e9  # products in one measurement of cached weights
KINDS = ("Q4_0", "Q4_1", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "MXFP4", "F16")


class Product:
    """``rows`` rows of activations times one matrix."""

    def __init__(
        self, pool: native.Pool, weight: native.Weight, outputs: int, rows: int, form: str
    ) -> None:
        self._rows = rows
        self._program = native.Program(pool, rows, False, 1, 1, 16, "float16", native.chosen_isa())
        x = self._program.buffer(COLUMNS, form)
        out = self._program.buffer(outputs, "none")
        values = self._program.floats(x)
        values[:] = np.random.default_rng(1).standard_normal(values.shape)
        self._program.quantize(x)
        self._program.end_segment("quantise")
        self._program.linear(x, [(weight, None, out, False)])
        self._program.end_segment("product")
        self._program.open_cache(64)
        self._program.set_angles(np.zeros((rows, 8, 2), np.float32))  # there are so many positions
        run_again(self._program, rows)

    def seconds(self, times: int) -> float:
        """Wall time of one of so many products in a row."""
        start = time.perf_counter()
        for _ in range(times):
            run_again(self._program, self._rows, segment=1)
        return (time.perf_counter() - start) / times


def measure(
    pool: native.Pool, format: Format, counts: list[int], megabytes: int, repeats: int, form: str
) -> list[list[str]]:
    """A table row for each number of rows."""
    layout = native.LAYOUTS[format.name]
    wanted = megabytes * 1_000_000 or CACHED_BYTES * pool.size
    outputs = max(1, wanted // native.packed_bytes(layout, 16, COLUMNS)) * 16
    num_bytes = native.packed_bytes(layout, outputs, COLUMNS)
    raw = random_raw(format, outputs, COLUMNS, np.random.default_rng(0))
    weight = packed(raw, format, COLUMNS)
    table = []
    for rows in counts:
        product = Product(pool, weight, outputs, rows, form)
        macs = outputs * COLUMNS * rows
        times = 1 if megabytes else max(1, round(WORK / macs))
        seconds, shares = [], []
        for _ in range(repeats):
            if is_bound := bool(megabytes) and rows <= 4:
                read = pool.measure_bandwidth(num_bytes)
            seconds.append(product.seconds(times))
            if is_bound:
                shares.append(num_bytes / seconds[-1] / read)
        row = [format.name, str(rows)]
        for taken in (median(seconds), min(seconds)):
            row += [f"{macs / taken / 1e9:.1f}", f"{num_bytes / taken / 1e9:.1f}"]
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
    parser.add_argument("--wide", action="store_true")
    asked = parser.parse_args()
    form = "wide" if asked.wide else "narrow"
    pool = native.Pool(read_cpu().useful_threads)
    rows = []
    for kind in asked.kinds:
        rows += measure(pool, Format[kind], asked.rows, asked.megabytes, asked.repeats, form)
    print_table(
        ["weights", "rows", "GMAC/s", "GB/s", "at best", "GB/s", "of the loop's reading"], rows
    )


if __name__ == "__main__":
    main()
