"""``wazn cost``: both sides of the bill, and what is said when owning is dearer."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_line import Run
from wazn.plan.speed import Machine
from wazn.weigh.hardware import Measured
from wazn.weigh.prices import bundled_rows, write_rows

HERE = Machine(bandwidth=20e9, compute=150e9, memory_bytes=20 << 30, threads=2)
ASKED = ("cost", "qwen3-8b", "--format", "Q4_K_M", "--tokens-per-day", "200000")
DAY = ("--as-of", "2026-11-20")


@pytest.fixture(autouse=True)
def invented_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured, so the tests are quick and exact."""
    monkeypatch.setattr("wazn.plan.probe.probe_machine", lambda threads=None: HERE)
    monkeypatch.setattr("wazn.weigh.hardware.measure_power", lambda work: None)


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """What a benchmark of one model printed."""
    run = {
        "machine": {"measured": "2026-11-26T10:00:00+00:00"},
        "quiet": True,
        "contenders": [
            {"name": "wazn", "users": {"4": {"prefill_tok_s": 80.0, "decode_tok_s": 10.0}}}
        ],
    }
    path = tmp_path / "speed.json"
    path.write_text(json.dumps(run))
    return path


def _against(outcome_stdout: str) -> dict[str, Any]:
    answer = json.loads(outcome_stdout)
    side: dict[str, Any] = answer["against"][0]
    return side


def test_owning_that_is_dearer_at_any_volume_is_called_so(wazn: Run) -> None:
    outcome = wazn(*ASKED, *DAY, "--against", "openai/gpt-5-nano")
    assert outcome.status == 0
    assert "Owning is dearer here" in outcome.stdout
    assert "Break-even: at no volume" in outcome.stdout
    assert "0.05 in, 0.4 out per 1M tokens by" in outcome.stdout


def test_owning_that_is_cheaper_has_a_break_even_with_a_range(wazn: Run) -> None:
    outcome = wazn(*ASKED, *DAY, "--against", "gpt-5.5")
    assert "Owning is cheaper here" in outcome.stdout
    side = _against(wazn(*ASKED, *DAY, "--against", "gpt-5.5", "--json").stdout)
    even = side["break_even"]
    assert even["best"] < even["likely"] < 200_000
    assert side["own"]["low"] < side["own"]["middle"] < side["own"]["high"]
    assert side["api"] == {"low": 11.25, "middle": 11.25, "high": 11.25}  # 5 and 30, 3 to 1


def test_a_measured_speed_takes_the_place_of_the_forecast(wazn: Run, bench: Path) -> None:
    outcome = wazn(*ASKED, *DAY, "--against", "gpt-5", "--bench", str(bench))
    assert "80 (72 to 88) tok/s, measured on 2026-11-26 for 4 at once" in outcome.stdout
    refused = wazn(*ASKED, "--against", "gpt-5", "--bench", str(bench), "--users", "2")
    assert refused.status == 1
    assert "has measurements for 4 users and not for 2" in refused.stderr


@pytest.mark.parametrize("text", ["", "[]", '{"contenders": 3}', '{"contenders": [{"name": 1}]}'])
def test_a_file_that_is_no_benchmark_is_refused(wazn: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.json").write_text(text)
    outcome = wazn(*ASKED, "--against", "gpt-5", "--bench", str(tmp_path / "odd.json"))
    assert outcome.status == 1
    assert "is not what 'wazn bench --json' prints" in outcome.stderr


def test_what_the_owner_says_is_taken_and_shown(wazn: Run) -> None:
    given = ("--machine-price", "0", "--watts", "60", "--idle-watts", "20", "--power-price", "0.1")
    outcome = wazn(*ASKED, *DAY, "--against", "gpt-5", *given)
    assert "machine price    0 USD, given" in outcome.stdout
    assert "price of power   0.1 USD per kWh, given" in outcome.stdout
    answer = json.loads(wazn(*ASKED, *DAY, "--against", "gpt-5", *given, "--json").stdout)
    assert answer["hardware"]["watts_busy"]["value"]["middle"] == 60


def test_measured_watts_are_used_where_a_counter_can_be_read(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(work: Any) -> Measured:
        work()
        return Measured(busy=40.0, idle=10.0)

    monkeypatch.setattr("wazn.weigh.hardware.measure_power", counted)
    outcome = wazn(*ASKED, *DAY, "--against", "gpt-5")
    assert "65 (40 to 90) W, processor measured by RAPL" in outcome.stdout


def test_prices_of_another_day_and_several_models_side_by_side(wazn: Run) -> None:
    names = ("--against", "o3", "--against", "deepseek/deepseek-v4-pro")
    before = json.loads(wazn(*ASKED, *names, "--as-of", "2026-11-20", "--json").stdout)
    assert [side["name"] for side in before["against"]] == [
        "openai/o3",
        "deepseek/deepseek-v4-pro",
    ]
    assert any("disagree" in remark for remark in before["against"][1]["remarks"])
    old = _against(wazn(*ASKED, "--against", "o3", "--as-of", "2025-05-01", "--json").stdout)
    assert old["api"]["middle"] == 10 * 0.75 + 40 * 0.25


def test_observed_prices_stand_beside_the_bundled_ones(
    wazn: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAZN_HOME", str(tmp_path))
    (tmp_path / "observations/prices").mkdir(parents=True)
    row = bundled_rows()[0]
    assert row.name not in wazn(*ASKED, "--against", "lab/new").stdout
    from dataclasses import replace

    write_rows(
        [replace(row, provider="lab", model="new")], tmp_path / "observations/prices/one.csv"
    )
    assert wazn(*ASKED, "--against", "lab/new").status == 0


def test_a_model_too_large_for_the_machine_is_refused_with_the_figures(wazn: Run) -> None:
    outcome = wazn("cost", "deepseek-v3", "--against", "gpt-5", "--tokens-per-day", "1e6")
    assert outcome.status == 1
    assert "deepseek-v3 in FP8 needs 67" in outcome.stderr
    assert "'wazn plan' names one" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--against", "gpt-77"), "no catalogue has a price of gpt-77"),
        (("--against", "gpt-5", "--input-share", "2"), "the input share is 2.0"),
        (("--against", "gpt-5", "--input-share", "nan"), "a share is nan"),
        (("--against", "gpt-5", "--busy", "7"), "busy share is 7; give a number from 0.001 to 1"),
        (("--against", "gpt-5", "--as-of", "soon"), "'soon' is not a date"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    wazn: Run, arguments: tuple[str, ...], message: str
) -> None:
    outcome = wazn(*ASKED, *arguments)
    assert outcome.status != 0
    assert message in outcome.stderr
