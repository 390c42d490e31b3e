"""How long the scheduler lets the threads of a pool run at a time, asked of Linux."""

import ctypes
import os
import platform
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

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


def _knows_slices() -> bool:
    version = re.match(r"(\d+)\.(\d+)", platform.release())
    return version is not None and tuple(map(int, version.groups())) >= (6, 12)


@pytest.mark.skipif(not _knows_slices(), reason="Linux takes a slice from 6.12 on")
def test_threads_of_a_pool_ask_for_short_slices_and_nothing_else_changes() -> None:
    def use_a_pool() -> list[tuple[Scheduling, Scheduling]]:
        caller = int(Path("/proc/thread-self").readlink().name)
        before, others = _scheduling(caller), _tasks()
        pool = native.Pool(2)
        (worker,) = _tasks() - others
        pool.measure_bandwidth(1 << 20)
        return [(before, _scheduling(task)) for task in (caller, worker)]

    with ThreadPoolExecutor(1) as thread:  # the slice of a thread stays, so not this one
        for before, after in thread.submit(use_a_pool).result():
            assert after == before._replace(slice_ns=SHORT_NS)


def test_a_pool_of_one_thread_leaves_its_caller_alone() -> None:
    with ThreadPoolExecutor(1) as thread:
        before, after = thread.submit(
            lambda: [
                _scheduling(0),
                native.Pool(1).measure_bandwidth(1 << 20) and _scheduling(0),
            ]
        ).result()
    assert before == after
