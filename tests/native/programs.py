"""Programs of one or two operations, to run a kernel by itself."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wazn import native
from wazn.weights.formats import Format

Floats = NDArray[np.float32]
F32 = Format.F32
Raw = NDArray[np.uint8]


def new_program(
    *, threads: int = 1, exact: bool = False, heads: int = 1, dim: int = 16, kv: str = "float16"
) -> native.Program:
    return native.Program(native.Pool(threads), 64, exact, 1, heads, dim, kv, native.chosen_isa())


def choice(**changes: Any) -> dict[str, Any]:
    """The options of a router: what ``changes`` says, and otherwise the plainest."""
    plain = {"normalize": False, "scoring": "softmax", "scale": 1.0, "sums_two": False}
    plain |= dict.fromkeys(("bias", "logit_bias", "table")) | {"groups": 1, "top_groups": 1}
    plain |= {"least_sum": 0.0, "softcap": 0.0, "by_logits": False, "on_input": False}
    return plain | changes


def random_raw(
    format: Format, rows: int, columns: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Rows of random bits with scales of ordinary size."""
    blocks = columns // format.block_size
    raw = rng.integers(0, 256, (rows, blocks * format.block_bytes), np.uint8)
    fields = raw.view(format.layout)
    for name in format.layout.names or ():
        if name in ("d", "m"):
            fields[name] = rng.normal(0, 0.01, fields.shape)
        elif name == "exponent":
            fields[name] = rng.integers(110, 135, fields.shape)
        elif name == "value" and format is Format.BF16:
            fields[name] = rng.normal(0, 1, fields.shape).astype(np.float32).view("<u4") >> 16
        elif name == "value":
            fields[name] = rng.normal(0, 1, fields.shape)
    return raw


def packed(raw: NDArray[np.uint8], format: Format, columns: int) -> native.Weight:
    layout = native.LAYOUTS[format.name]
    memory = native.Memory.allocate(native.packed_bytes(layout, len(raw), columns))
    native.pack(layout, raw, columns, memory.writable())
    return native.Weight.create(memory, 0, layout, len(raw), columns)


def run(program: native.Program, rows: int, first_position: int = 0) -> None:
    """One step of a single sequence over everything recorded."""
    program.end_segment("all")
    program.set_angles(np.zeros((4096, program.head_dim // 2, 2), np.float32))
    run_again(program, rows, first_position)


def run_again(
    program: native.Program, rows: int, first_position: int = 0, segment: int = 0
) -> None:
    program.run(
        segment,
        segment + 1,
        np.zeros(rows, np.int32),
        np.array([0, rows], np.int32),
        np.array([first_position], np.int32),
        np.arange(64, dtype=np.int32)[None],
        np.empty(0, np.int32),
        np.empty((0, 1), np.float32),
        np.zeros(1, np.int32),
    )


def fill(program: native.Program, buffers: Sequence[int], values: Sequence[Floats]) -> None:
    """Writes the first rows of buffers."""
    for buffer, rows in zip(buffers, values, strict=True):
        program.floats(buffer).reshape(64, -1)[: len(rows)] = rows


def stream(
    program: native.Program,
    buffers: Sequence[int],
    values: Sequence[Floats],
    out: int,
    chunks: Sequence[int],
) -> Floats:
    """What ``out`` gets while rows of ``values`` arrive in ``chunks`` of one sequence."""
    results, start = [], 0
    for chunk in chunks:
        fill(program, buffers, [rows[start : start + chunk] for rows in values])
        (run if start == 0 else run_again)(program, chunk, start)
        results.append(program.floats(out).reshape(64, -1)[:chunk].copy())
        start += chunk
    return np.concatenate(results)


def apply(
    x: Floats, columns_out: int, record: Callable[[native.Program, int, int], None]
) -> Floats:
    """Runs one recorded operation from x (rows, columns) to (rows, columns_out)."""
    program = new_program()
    source = program.buffer(x.shape[1], "none")
    target = program.buffer(columns_out, "none")
    record(program, source, target)
    program.open_cache(64)
    program.floats(source)[: len(x)] = x
    run(program, len(x))
    return program.floats(target)[: len(x)].copy()
