"""What the doctor says of machines, ours and invented ones."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.command_line import Run
from wazn.cli.doctor import estimate
from wazn.errors import UnsupportedMachine
from wazn.machine import CacheLevel, Cpu, Memory
from wazn.topology import Core, Topology

GB = 10**9


@pytest.fixture(autouse=True)
def invented_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop in a container: nothing is measured, so the tests are quick and exact."""
    cpu = Cpu(
        name="Model 9000",
        logical_cpus=16,
        usable_cpus=8,
        usable_cores=4,
        quota=2.5,
        instruction_sets=("avx2", "fma"),
        caches=(CacheLevel(1, 32 << 10, 2), CacheLevel(3, 16 << 20, 16)),
    )
    cores = Topology(tuple(Core(0, (core, core + 8)) for core in range(4)))
    monkeypatch.setattr("wazn.cli.doctor.read_cpu", lambda: cpu)
    monkeypatch.setattr("wazn.cli.doctor.read_topology", lambda: cores)
    monkeypatch.setattr(
        "wazn.cli.doctor.read_memory",
        lambda: Memory(total=12 * GB, available=8 * GB, limit=12 * GB),
    )
    monkeypatch.setattr("wazn.cli.doctor.measure_bandwidth", lambda threads, num_bytes: 40e9)
    monkeypatch.setattr("wazn.native.available_isas", lambda: ["avx512", "avx2"])
    monkeypatch.setattr("wazn.native.chosen_isa", lambda: "avx512")


def test_the_machine_is_described_as_the_process_may_use_it(wazn: Run) -> None:
    outcome = wazn("doctor")
    assert outcome.status == 0
    shown = dict(line.split("  ", 1) for line in outcome.stdout.split("\n\n")[0].splitlines())
    facts = {name: value.strip() for name, value in shown.items()}
    assert facts["CPU"] == "Model 9000"
    assert facts["cores"].startswith("4 usable, 8 of 16 logical CPUs, limited to 2.5")
    assert facts["nodes"] == "node 0: 4 cores, CPUs 0-3, 8-11"
    assert facts["threads"] == "2"
    assert facts["with --pin"] == "on CPUs 0-1"
    assert facts["caches"] == "L1 32 KiB shared by 2, L3 16 MiB shared by 16"
    assert facts["instruction sets"] == "avx2 fma"
    assert facts["kernels"] == "avx512 (available: avx512, avx2)"
    assert facts["read bandwidth"] == "40.0 GB/s, measured"
    assert facts["memory"] == "12.0 GB, 8.0 GB available, limited by the control group"
    assert os.environ["WAZN_HOME"] in facts["models"]


def test_what_would_run_is_called_an_estimate(wazn: Run) -> None:
    shown = wazn("doctor").stdout
    assert "(estimates)" in shown
    rows = {line[:14].strip(): line.split() for line in shown.splitlines()}
    assert rows["Qwen3 8B"][-2:] == ["8.7", "readable"]
    assert rows["Qwen3 32B"][-4:] == ["-", "does", "not", "fit"]


def test_json_has_the_figures_in_bytes(wazn: Run) -> None:
    report = json.loads(wazn("doctor", "--json").stdout)
    assert report["threads"] == 2
    assert report["memory"] == {"total": 12 * GB, "available": 8 * GB, "limit": 12 * GB}
    assert report["bandwidth_bytes_s"] == 40e9
    assert report["instruction_set"] == "avx512"
    assert report["problems"] == []
    assert report["store"]["used_bytes"] == 0
    assert report["store"]["free_bytes"] > 0


def test_json_says_where_cores_are_and_threads_would_go(wazn: Run) -> None:
    report = json.loads(wazn("doctor", "--json").stdout)
    assert report["topology"]["cores"][1] == {"node": 0, "cpus": [1, 9]}
    assert report["pinned_cpus"] == [0, 1]


def test_threads_that_span_nodes_are_remarked_with_the_alternative(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "NUMA" not in wazn("doctor").stdout
    cores = Topology((Core(0, (0,)), Core(1, (4,))))
    monkeypatch.setattr("wazn.cli.doctor.read_topology", lambda: cores)
    outcome = wazn("doctor")
    assert outcome.status == 0
    assert "node 0: 1 core, CPUs 0; node 1: 1 core, CPUs 4" in outcome.stdout
    assert "on CPUs 0, 4" in outcome.stdout
    assert "! 2 threads span 2 NUMA nodes. With --pin the weights are copied" in outcome.stdout
    assert "The alternative is a worker per node" in outcome.stdout


def test_what_is_stored_is_counted(wazn: Run) -> None:
    home = Path(os.environ["WAZN_HOME"])
    (home / "models").mkdir(parents=True)
    (home / "models" / "m.gguf").write_bytes(bytes(1000))
    (home / "models" / "link.gguf").symlink_to(home / "models" / "m.gguf")
    assert json.loads(wazn("doctor", "--json").stdout)["store"]["used_bytes"] == 1000


def test_a_machine_that_cannot_run_wazn_is_told_so_with_status_1(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> str:
        raise UnsupportedMachine("wazn needs AVX2, and this CPU lacks it.")

    monkeypatch.setattr("wazn.native.chosen_isa", refuse)
    outcome = wazn("doctor")
    assert outcome.status == 1
    assert "none: wazn cannot run here" in outcome.stdout
    assert "! wazn needs AVX2, and this CPU lacks it.\n" in outcome.stdout
    assert "not measured" in outcome.stdout
    report = json.loads(wazn("doctor", "--json").stdout)
    assert report["problems"] == ["wazn needs AVX2, and this CPU lacks it."]
    assert report["bandwidth_bytes_s"] is None


def test_a_missing_pip_is_remarked_but_no_failure(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wazn.cli.doctor._find_pip", lambda: None)
    outcome = wazn("doctor")
    assert outcome.status == 0
    assert "python -m ensurepip" in outcome.stdout


def test_an_estimate_is_bandwidth_over_bytes_of_the_weights() -> None:
    entries = {entry.model: entry for entry in estimate(40e9, 8 * GB)}
    eight = entries["Qwen3 8B"]
    assert eight.weight_bytes == int(8.2e9 * 4.5 / 8)
    assert eight.decode_tokens_s == round(40e9 / eight.weight_bytes, 1)
    assert (eight.fits, eight.verdict) == (True, "readable")
    assert entries["Qwen2.5 1.5B"].verdict == "fluent"
    assert entries["Qwen3 14B"].verdict == "does not fit"


def test_without_a_bandwidth_only_the_memory_is_judged() -> None:
    verdicts = [entry.verdict for entry in estimate(None, 8 * GB)]
    assert set(verdicts) == {"fits", "does not fit"}


def test_slow_is_called_slow() -> None:
    assert estimate(5e9, 80 * GB)[-1].verdict == "slow"
