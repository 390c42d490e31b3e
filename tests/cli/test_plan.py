"""``wazn plan``: what is printed of a model on an invented machine."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.command_line import Run
from tests.golden.build import tiny_gguf
from tests.golden.catalogue import LLAMA
from wazn.plan.speed import Machine

GIB = 1 << 30
HERE = Machine(bandwidth=20e9, compute=150e9, memory_bytes=20 * GIB, threads=2)


@pytest.fixture(autouse=True)
def invented_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured, so the tests are quick and exact."""
    monkeypatch.setattr("wazn.plan.probe.probe_machine", lambda threads=None: HERE)
    monkeypatch.setattr("wazn.weigh.hardware.measure_power", lambda work: None)


def test_a_model_that_fits_shows_speed_memory_and_cost(wazn: Run) -> None:
    outcome = wazn("plan", "qwen3-8b", "--format", "Q4_K_M")
    assert outcome.status == 0
    assert "8.19 B, 7.57 B for a token" in outcome.stdout
    rows = [line.split() for line in outcome.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert [tuple(row[:2]) for row in rows] == [
        (users, context) for context in ("1024", "8192", "32768") for users in ("1", "4", "16")
    ]
    assert rows[-1][2:] == ["82.5", "GB", "-", "-", "-", "-"]  # of this load alone, too much
    for part in ("embedding", "head", "attention", "dense", "weights", "cache", "working"):
        assert f"\n{part} " in outcome.stdout
    assert "Forecast, not measured" in outcome.stdout
    assert "machine price: 500 USD (300 to 850), assumed" in outcome.stdout


def test_a_model_that_is_too_large_says_what_would_do(wazn: Run) -> None:
    outcome = wazn("plan", "deepseek-v3", "--format", "Q4_K_M")
    assert outcome.status == 0
    assert "It does not fit here: 406.7 GB are needed and 21.5 GB are free." in outcome.stdout
    assert "It would fit a server with 768 GiB" in outcome.stdout
    assert "it would take 21 machines like this one" in outcome.stdout
    assert "Published in Q4_K_M: 404.4 GB" in outcome.stdout


def test_every_load_is_in_the_json_with_its_memory(wazn: Run) -> None:
    outcome = wazn("plan", "gpt-oss-120b", "--json")
    plan = json.loads(outcome.stdout)
    assert plan["format"] == "MXFP4"
    loads = {(load["users"], load["context"]): load for load in plan["loads"]}
    assert set(loads) == {(u, c) for u in (1, 4, 16) for c in (1024, 8192, 32768)}
    memory = loads[(4, 8192)]["memory"]
    assert memory["total"] == sum(memory["weights"].values()) + sum(
        memory[part] for part in ("cache", "state", "working")
    )
    assert sum(memory["weights"].values()) == plan["published"][0]["num_bytes"]
    assert not plan["fits"]
    assert loads[(1, 1024)]["decode_tok_s"] is None


def test_contexts_beyond_the_model_are_left_out_or_refused(wazn: Run, tmp_path: Path) -> None:
    path = str(tiny_gguf(LLAMA, tmp_path / "tiny.gguf"))
    plan = json.loads(wazn("plan", path, "--json").stdout)
    assert {load["context"] for load in plan["loads"]} == {plan["context_length"]}
    outcome = wazn("plan", path, "--context", "1000000")
    assert outcome.status == 1
    assert "--context 1000000 is longer than the" in outcome.stderr


def test_another_machine_is_described_in_full_or_not_at_all(wazn: Run) -> None:
    described = ("--bandwidth", "400", "--compute", "5000", "--memory", "768GiB")
    plan = json.loads(wazn("plan", "deepseek-v3", *described, "--json").stdout)
    assert plan["fits"]
    assert plan["machine"]["bandwidth"] == 400e9
    outcome = wazn("plan", "deepseek-v3", "--bandwidth", "400")
    assert outcome.status == 1
    assert "all of --bandwidth, --compute and --memory" in outcome.stderr


def test_a_machine_that_was_busy_meanwhile_is_called_so(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Other programs" not in wazn("plan", "qwen3-8b").stdout
    busy = replace(HERE, foreign_share=0.4)
    monkeypatch.setattr("wazn.plan.probe.probe_machine", lambda threads=None: busy)
    assert "! Other programs took 40% of the CPU" in wazn("plan", "qwen3-8b").stdout


def test_a_family_that_this_version_does_not_run_is_named(wazn: Run) -> None:
    assert "does not run the family muse_spark" in wazn("plan", "muse-spark-816b-a42b").stdout
    assert "does not run the family" not in wazn("plan", "qwen3-8b").stdout


def test_known_models_are_listed_with_their_sources(wazn: Run) -> None:
    listed = json.loads(wazn("plan", "--list", "--json").stdout)
    assert {"deepseek-r1", "grok-2", "seed-oss-36b", "llama-4-scout"} <= set(listed)
    assert all(one["source"] for one in listed.values())
    assert "qwen3-30b-a3b" in wazn("plan", "--list").stdout


def test_a_plan_of_nothing_is_refused(wazn: Run) -> None:
    outcome = wazn("plan")
    assert outcome.status == 1
    assert "name a model" in outcome.stderr
