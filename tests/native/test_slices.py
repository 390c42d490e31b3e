"""How long the scheduler lets the threads of a pool run at a time, asked of Linux."""

import ctypes
import os
import platform
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from wazn import native

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}[platform.machine()]
ATTRIBUTES = struct.Struct("IIQiIQQQ")  # struct sched_attr, its first version
SHORT_NS = 100_000


class Scheduling(NamedTuple):
    """What the kernel says of a thread."""

    policy: int
    nice: int
    slice_ns: int


def _scheduling(task: int) -> Scheduling:
    libc = ctypes.CDLL(None, use_errno=True)
    answer = ctypes.create_string_buffer(ATTRIBUTES.size)
    assert libc.syscall(SCHED_GETATTR, task, answer, ATTRIBUTES.size, 0) == 0
    _, policy, _, nice, _, runtime, _, _ = ATTRIBUTES.unpack(answer.raw)
    return Scheduling(policy, nice, runtime)


def _tasks() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}


def _granted_ns(asked_ns: int, before_ns: int) -> int:
    """The slice after asking for one: older kernels than 6.12 know none, and change nothing."""
    version = re.match(r"(\d+)\.(\d+)", platform.release())
    assert version is not None
    return asked_ns if tuple(map(int, version.groups())) >= (6, 12) else before_ns


def _before_and_after(threads: int) -> list[tuple[Scheduling, Scheduling]]:
    """Of the threads of a pool, the caller first; in a thread of its own, as its slice stays."""

    def use_a_pool() -> list[tuple[Scheduling, Scheduling]]:
        caller = int(Path("/proc/thread-self").readlink().name)
        before, others = _scheduling(caller), _tasks()
        pool = native.Pool(threads)
        workers = _tasks() - others
        pool.measure_bandwidth(1 << 20)
        return [(before, _scheduling(task)) for task in (caller, *workers)]

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(use_a_pool).result()


def test_threads_of_a_pool_ask_for_short_slices_and_nothing_else_changes() -> None:
    seen = _before_and_after(threads=2)
    assert len(seen) == 2
    for before, after in seen:
        assert after == before._replace(slice_ns=_granted_ns(SHORT_NS, before.slice_ns))


def test_a_pool_of_one_thread_leaves_its_caller_alone() -> None:
    ((before, after),) = _before_and_after(threads=1)
    assert before == after
