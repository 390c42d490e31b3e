"""Where threads run, and whose memory weights are: asked of Linux, not of the code under test.

A page that nobody has touched yet costs the thread that touches it first a fault, and Linux counts
faults by thread. So who read or wrote which part of the weights can be seen from outside.
"""

import ctypes
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.models.random_models import random_model
from tests.native.programs import Floats, new_program, run, run_again
from wazn import native
from wazn.models.model import Batch
from wazn.weights.formats import Format

PAGE_BYTES = resource.getpagesize()
PR_SET_THP_DISABLE = 41  # linux/prctl.h
COLUMNS = 1024
ROWS = (800, 8000, 1600)  # of the products of one operation: the second is split in two
NOISE = 100  # faults of anything else that a thread does meanwhile, at most

ALLOWED = sorted(os.sched_getaffinity(0))
TWO_CPUS = (ALLOWED[0], ALLOWED[-1])


@pytest.fixture
def small_pages() -> Iterator[None]:
    """A huge page would be one fault for 512 pages."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
    yield
    assert libc.prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0) == 0


def _tasks() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}


def _faults(task: int) -> int:
    """Minor faults of a thread of this process so far (proc_pid_stat(5), field 10)."""
    fields = Path(f"/proc/self/task/{task}/stat").read_text().rpartition(")")[2].split()
    return int(fields[7])


class Threads:
    """A pool of two pinned threads, and its worker's id."""

    def __init__(self) -> None:
        before = _tasks()
        self.pool = native.Pool(2, TWO_CPUS)
        (self.worker,) = _tasks() - before
        self.ids = (threading_id(), self.worker)

    def faults(self) -> list[int]:
        return [_faults(task) for task in self.ids]


def threading_id() -> int:
    """The kernel's id of the calling thread."""
    return int(Path("/proc/thread-self").readlink().name)


def _untouched(rows: int) -> tuple[native.Memory, native.Weight]:
    """A float32 matrix of zeroes in memory that has no pages yet."""
    layout = native.LAYOUTS["F32"]
    memory = native.Memory.allocate(native.packed_bytes(layout, rows, COLUMNS))
    return memory, native.Weight.create(memory, 0, layout, rows, COLUMNS)


def _expected(thread: int) -> list[tuple[int, int]]:
    """Rows [first, last) of each product that a thread of two reads: half of all panels."""
    panels = sum(rows // 16 for rows in ROWS)
    first, last = panels * thread // 2 * 16, panels * (thread + 1) // 2 * 16
    parts, begin = [], 0
    for rows in ROWS:
        parts.append((min(max(first - begin, 0), rows), min(max(last - begin, 0), rows)))
        begin += rows
    return parts


def _pages(parts: list[tuple[int, int]]) -> int:
    return sum(last - first for first, last in parts) * COLUMNS * 4 // PAGE_BYTES


def test_workers_stay_on_their_cpus_and_the_caller_while_it_runs() -> None:
    threads = Threads()
    caller = threads.ids[0]
    assert os.sched_getaffinity(threads.worker) == {TWO_CPUS[1]}
    assert os.sched_getaffinity(caller) == set(ALLOWED)
    with ThreadPoolExecutor(1) as observer:
        seen = observer.submit(_affinities_until_pinned, caller)
        while not seen.done():
            threads.pool.measure_bandwidth(1 << 24)
        assert seen.result() == {TWO_CPUS[0]}
    assert os.sched_getaffinity(caller) == set(ALLOWED)
    assert os.sched_getaffinity(threads.worker) == {TWO_CPUS[1]}


def _affinities_until_pinned(task: int) -> set[int]:
    """The affinity of a thread as soon as it is one CPU; what it is after many looks otherwise."""
    found = set(ALLOWED)
    for _ in range(1_000_000):
        found = os.sched_getaffinity(task)
        if len(found) == 1:
            break
    return found


def test_threads_that_are_not_pinned_run_anywhere() -> None:
    before = _tasks()
    pool = native.Pool(3)
    workers = _tasks() - before
    assert [os.sched_getaffinity(task) for task in workers] == [set(ALLOWED)] * 2
    assert pool.size == 3


def test_a_cpu_that_may_not_be_used_is_refused_and_nothing_stays_pinned() -> None:
    tasks = _tasks()
    for cpu in (-1, 8191, 8192, 2**31 - 1):
        with pytest.raises(ValueError, match=f"^CPU {cpu} is not one that this process may use$"):
            native.Pool(2, [ALLOWED[0], cpu])
    with pytest.raises(ValueError, match="one for each thread"):
        native.Pool(2, [ALLOWED[0]])
    assert os.sched_getaffinity(0) == set(ALLOWED)
    # Threads that an earlier test has joined may still have been listed, and are gone by now.
    assert not _tasks() - tasks


def test_a_cpu_outside_of_what_the_user_allowed_is_refused() -> None:
    def confined() -> str:
        os.sched_setaffinity(0, {ALLOWED[0]})  # of this thread, which ends here
        with pytest.raises(ValueError) as caught:
            native.Pool(1, [ALLOWED[-1] if len(ALLOWED) > 1 else ALLOWED[0] + 1])
        return str(caught.value)

    with ThreadPoolExecutor(1) as executor:
        assert "may use" in executor.submit(confined).result()


def test_each_thread_reads_the_same_half_of_the_panels_in_every_step(small_pages: None) -> None:
    threads = Threads()
    program = native.Program(threads.pool, 64, False, 1, 1, 16, "float16", native.chosen_isa())
    source = program.buffer(COLUMNS, "none")
    weights = [_untouched(rows) for rows in ROWS]
    program.linear(
        source,
        [(weight, None, program.buffer(weight.rows, "none"), False) for _, weight in weights],
    )
    program.open_cache(64)
    # Touches what the first thread should read, and nothing else.
    for (memory, _), (first, last) in zip(weights, _expected(0), strict=True):
        memory.writable()[first * COLUMNS * 4 : last * COLUMNS * 4] = 0
    before = threads.faults()
    run(program, 1)
    once = np.subtract(threads.faults(), before)
    assert once[0] < NOISE
    assert abs(once[1] - _pages(_expected(1))) < NOISE
    run_again(program, 1, first_position=1)
    assert all(np.subtract(threads.faults(), before) - once < NOISE)


def test_the_copy_is_written_by_the_threads_that_read_it() -> None:
    """In small pages, though other memory may have huge ones."""
    threads = Threads()
    program = native.Program(threads.pool, 64, False, 1, 1, 16, "float16", native.chosen_isa())
    source = program.buffer(COLUMNS, "none")
    weights = [_untouched(rows) for rows in ROWS]
    outputs = [program.buffer(rows, "none") for rows in ROWS]
    for number, (memory, _) in enumerate(weights):
        values = memory.writable().view(np.float32)
        values[:] = np.random.default_rng(number).normal(size=len(values))
    program.linear(
        source,
        [(weight, None, out, False) for (_, weight), out in zip(weights, outputs, strict=True)],
    )
    program.open_cache(64)
    program.floats(source)[0] = np.linspace(-1, 1, COLUMNS)
    run(program, 1)
    wanted = [program.floats(out)[0].copy() for out in outputs]
    assert program.copied_bytes == sum(ROWS) * COLUMNS * 4
    before = threads.faults()
    program.copy_weights()
    copied = np.subtract(threads.faults(), before)
    for thread in range(2):
        assert abs(copied[thread] - _pages(_expected(thread))) < NOISE
    for memory, _ in weights:
        memory.writable()[:] = 0  # nobody reads the originals any more
    before = threads.faults()
    run_again(program, 1)
    assert all(np.subtract(threads.faults(), before) < NOISE)
    for out, values in zip(outputs, wanted, strict=True):
        assert np.array_equal(program.floats(out)[0], values)


def _logits(cpus: tuple[int, ...], family: str, format: Format, *, copy: bool) -> Floats:
    model = random_model(family, format, threads=len(cpus) or 2, cpus=cpus)
    if copy:
        model.copy_weights()
    ids = np.arange(70, dtype=np.int32) % 300
    steps = [ids, np.array([7], np.int32), np.array([8], np.int32)]
    rows, position = [], 0
    for step in steps:  # a slice of a prompt, then decoding
        batch = Batch(
            step,
            np.array([0, len(step)], np.int32),
            np.array([position], np.int32),
            np.arange(2, dtype=np.int32)[None],
            np.arange(len(step), dtype=np.int32),
        )
        rows.append(model.forward(batch).copy())
        position += len(step)
    return np.concatenate(rows)


@pytest.mark.parametrize(
    ("family", "format"),
    [
        ("llama", Format.Q4_1),
        ("qwen2", Format.Q6_K),
        ("qwen3_moe", Format.Q4_0),
        ("qwen2_moe", Format.BF16),
    ],
)
def test_logits_are_the_same_to_the_bit_pinned_and_copied(family: str, format: Format) -> None:
    free = _logits((), family, format, copy=False)
    assert np.array_equal(free, _logits(TWO_CPUS, family, format, copy=False))
    assert np.array_equal(free, _logits(TWO_CPUS, family, format, copy=True))
    assert np.array_equal(free, _logits((*TWO_CPUS, TWO_CPUS[0]), family, format, copy=True))


def test_a_copy_of_weights_that_shrink_on_disk_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    layout = native.LAYOUTS["F32"]
    path.write_bytes(bytes(native.packed_bytes(layout, 800, COLUMNS)))
    weight = native.Weight.create(native.Memory.map_file(str(path)), 0, layout, 800, COLUMNS)
    program = new_program(threads=2)
    program.linear(
        program.buffer(COLUMNS, "none"), [(weight, None, program.buffer(800, "none"), False)]
    )
    program.end_segment("all")
    os.truncate(path, PAGE_BYTES)
    with pytest.raises(RuntimeError, match="shrank on disk"):
        program.copy_weights()
