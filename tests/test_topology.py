"""Cores and nodes of machines that are described in folders of our own, and who runs where."""

import os
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazn.errors import BadRequest
from wazn.topology import (
    Core,
    Topology,
    check_cpus,
    format_cpus,
    parse_cpu_list,
    place,
    place_workers,
    read_topology,
)

TWO_NODES = Topology(  # 2 nodes x 4 cores x 2 siblings, numbered as Linux does on x86
    tuple(Core(core // 4, (core, core + 8)) for core in range(8))
)


class Described:
    """A root folder with the files of sysfs that a test names, and an affinity."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._patch = patch

    def write(self, path: str, text: str) -> None:
        file = self.root / "sys/devices/system" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def nodes(self, lists: Mapping[int, str]) -> None:
        for node, cpus in lists.items():
            self.write(f"node/node{node}/cpulist", f"{cpus}\n")

    def siblings(self, *groups: tuple[int, ...]) -> None:
        for group in groups:
            for cpu in group:
                text = ",".join(map(str, group))
                self.write(f"cpu/cpu{cpu}/topology/thread_siblings_list", f"{text}\n")

    def read(self, affinity: set[int]) -> Topology:
        self._patch.setattr(os, "sched_getaffinity", lambda process: affinity)
        return read_topology(self.root)


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Described:
    return Described(tmp_path, monkeypatch)


def test_this_machine_has_every_usable_cpu_in_one_core() -> None:
    topology = read_topology()
    assert topology.cpus == tuple(sorted(os.sched_getaffinity(0)))
    assert topology.nodes(topology.cpus)


def test_one_node_of_two_cores(described: Described) -> None:
    described.nodes({0: "0-1"})
    described.siblings((0,), (1,))
    assert described.read({0, 1}).cores == (Core(0, (0,)), Core(0, (1,)))


def test_two_nodes_of_four_cores_with_two_siblings_each(described: Described) -> None:
    described.nodes({0: "0-3,8-11", 1: "4-7,12-15"})
    described.siblings(*((core, core + 8) for core in range(8)))
    assert described.read(set(range(16))) == TWO_NODES


def test_sysfs_without_anything_is_one_node_of_single_cpus(described: Described) -> None:
    topology = described.read({0, 5})
    assert topology.cores == (Core(0, (0,)), Core(0, (5,)))
    assert place(topology, 2) == (0, 5)


def test_a_restricted_affinity_leaves_parts_of_cores_and_nodes(described: Described) -> None:
    described.nodes({0: "0-3,8-11", 1: "4-7,12-15"})
    described.siblings(*((core, core + 8) for core in range(8)))
    topology = described.read({1, 8, 9, 12})
    assert topology.cores == (Core(0, (1, 9)), Core(0, (8,)), Core(1, (12,)))
    assert place(topology, 4) == (1, 8, 12, 9)


def test_cpus_that_are_offline_or_missing_are_nobodys(described: Described) -> None:
    described.nodes({0: "0-3", 1: "", 2: "4,5"})  # node 1 has memory only; 3 and 5 are offline
    described.siblings((0, 1), (4, 5))  # nothing about 2
    topology = described.read({0, 1, 2, 4})
    assert topology.cores == (Core(0, (0, 1)), Core(0, (2,)), Core(2, (4,)))
    assert topology.nodes((0, 2)) == (0,)
    assert topology.nodes((0, 4, 99)) == (0, 2)


@pytest.mark.parametrize("text", ["", "0-", "a", "0,,1", "-1", "0x1", "0-3 4", "٣", "\x00\n", "{}"])
def test_a_list_that_is_none_says_nothing(described: Described, text: str) -> None:
    assert parse_cpu_list(text) == set()
    described.nodes({0: text, 1: text})
    described.write("cpu/cpu0/topology/thread_siblings_list", text)
    assert described.read({0, 1}).cores == (Core(0, (0,)), Core(0, (1,)))


def test_a_list_of_absurd_size_is_neither_believed_nor_waited_for() -> None:
    assert parse_cpu_list("0-999999999999") == set()
    assert parse_cpu_list("8190-999999") == {8190, 8191}
    assert parse_cpu_list("9" * 5000) == set()
    assert parse_cpu_list("1," * 9000 + "1") == set()


def test_files_that_contradict_each_other_still_give_each_cpu_one_core(
    described: Described,
) -> None:
    described.nodes({0: "0-2", 1: "2-3", 7: "0-99"})  # the lowest node that claims a CPU has it
    described.write("node/nodes/cpulist", "0\n")
    described.write("node/node-1/cpulist", "0\n")
    described.write("cpu/cpu0/topology/thread_siblings_list", "0-3\n")  # across nodes
    described.write("cpu/cpu1/topology/thread_siblings_list", "9\n")  # not itself
    (described.root / "sys/devices/system/cpu/cpu2/topology/thread_siblings_list").mkdir(
        parents=True
    )
    topology = described.read({0, 1, 2, 3, 4})
    assert topology.cores == (Core(0, (0, 1, 2)), Core(1, (3,)), Core(7, (4,)))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=12),
    st.data(),
)
def test_placing_takes_cores_before_siblings_and_no_cpu_twice(
    shape: list[tuple[int, int]], data: st.DataObject
) -> None:
    cores, cpu = [], 0
    for node, count in sorted(shape):
        cores.append(Core(node, tuple(range(cpu, cpu + count))))
        cpu += count
    topology = Topology(tuple(cores))
    chosen = place(topology, data.draw(st.integers(1, cpu)))
    assert len(set(chosen)) == len(chosen)
    firsts = [any(cpu == core.cpus[0] for core in cores) for cpu in chosen]
    assert firsts == sorted(firsts, reverse=True)
    assert sum(firsts) == min(len(cores), len(chosen))
    nodes = [topology.nodes([cpu])[0] for cpu in chosen[: sum(firsts)]]
    visited = [node for node, _ in groupby(nodes)]
    assert len(set(visited)) == len(visited)
    for node in visited[:-1]:  # left for the next only when it was full
        assert nodes.count(node) == sum(core.node == node for core in cores)


def test_one_node_is_filled_before_the_next() -> None:
    assert place(TWO_NODES, 3) == (0, 1, 2)
    assert place(TWO_NODES, 6) == (0, 1, 2, 3, 4, 5)
    assert place(TWO_NODES, 10) == (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
    assert place(TWO_NODES, 16) == tuple(range(16))


def test_the_larger_node_comes_first_where_all_threads_have_room() -> None:
    topology = Topology((Core(0, (0,)), Core(1, (1,)), Core(1, (2,))))
    assert place(topology, 2) == (1, 2)
    assert place(topology, 3) == (1, 2, 0)


def test_workers_share_no_cpu_and_keep_to_a_node() -> None:
    assert place_workers(TWO_NODES, 2, 4) == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert place_workers(TWO_NODES, 2, 3) == ((0, 1, 2), (4, 5, 6))
    assert place_workers(TWO_NODES, 4, 4)[2:] == ((8, 9, 10, 11), (12, 13, 14, 15))


def test_more_threads_than_cpus_cannot_be_pinned() -> None:
    with pytest.raises(BadRequest, match=r"^17 threads .* 16 CPUs .*\(0-15\); use at most 16 "):
        place(TWO_NODES, 17)
    with pytest.raises(BadRequest, match=r"^3 x 8 threads .*; use at most 5 \(--threads\), or do"):
        place_workers(TWO_NODES, 3, 8)
    with pytest.raises(BadRequest, match=r"\(0\); do without pinning\.$"):
        place_workers(Topology((Core(0, (0,)),)), 2, 1)


def test_a_cpu_that_may_not_be_used_is_named_with_those_that_may() -> None:
    assert check_cpus(TWO_NODES, [3, 1]) == (3, 1)
    for wrong in (16, -1, "0", None, 10**30):
        with pytest.raises(BadRequest, match=r"which this process may not use; it may use 0-15\."):
            check_cpus(TWO_NODES, [0, wrong])  # type: ignore[list-item]
    with pytest.raises(BadRequest, match="empty"):
        check_cpus(TWO_NODES, [])


def test_cpus_are_shown_as_runs_in_the_order_given() -> None:
    assert format_cpus((0, 1, 2, 8, 10, 11)) == "0-2, 8, 10-11"
    assert format_cpus((4, 0)) == "4, 0"
