from pathlib import Path

import pytest

from wazn.bench.measure import Measurement, Plan, measure
from wazn.bench.quiet import QuietMeter
from wazn.bench.workload import PROMPT_TOKENS, Kind, Prompts, Task


class FakePlayer:
    """Writes down its turns; every one takes as long as ``seconds`` says."""

    def __init__(self, name: str, seconds: float, diary: list[tuple[str, Kind, Prompts]]) -> None:
        self.name = name
        self.pid = 1
        self.vocab_size = 1000
        self._seconds = seconds
        self._diary = diary

    def run(self, kind: Kind, prompts: Prompts) -> float:
        self._diary.append((self.name, kind, prompts))
        return self._seconds


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QuietMeter:
    monkeypatch.setattr("wazn.bench.measure.SETTLE_S", 0)
    (tmp_path / "stat").write_text("cpu  0 0 0 0 0 0 0 0 0 0\n")
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "stat").write_text("1 (x) S " + "0 " * 20)
    return QuietMeter(2, tmp_path)


def _turns(repeats: int, meter: QuietMeter) -> list[tuple[str, Kind, Prompts]]:
    diary: list[tuple[str, Kind, Prompts]] = []
    players = [FakePlayer("a", 1.0, diary), FakePlayer("b", 2.0, diary)]
    measure(players, Plan([1], repeats), meter, lambda *_: None)
    return [turn for turn in diary if len(turn[2][0]) == PROMPT_TOKENS[turn[1]]]


def test_who_goes_first_changes_from_pair_to_pair(meter: QuietMeter) -> None:
    names = "".join(name for name, kind, _ in _turns(4, meter) if kind == "decode")
    assert names == "abbaabba"


def test_both_of_a_pair_get_the_same_prompts(meter: QuietMeter) -> None:
    turns = _turns(2, meter)
    assert [prompts for _, _, prompts in turns[::2]] == [prompts for _, _, prompts in turns[1::2]]


def test_rates_are_tokens_per_second_of_each_pair(meter: QuietMeter) -> None:
    players = [FakePlayer("a", 0.5, []), FakePlayer("b", 2.0, [])]
    heard: list[tuple[Task, int, dict[str, float]]] = []
    results = measure(players, Plan([1, 8], 3), meter, lambda *heard_now: heard.append(heard_now))
    assert [result.task for result in results] == Plan([1, 8], 3).tasks
    assert results[0].rates == {"a": [1024.0] * 3, "b": [256.0] * 3}
    assert results[3].rates["a"] == [8 * 64 / 0.5] * 3
    assert len(heard) == 4 * 3
    assert heard[-1] == (Task("decode", 8), 2, {"a": 1024.0, "b": 256.0})


def test_every_pair_has_its_own_ratio() -> None:
    measurement = Measurement(Task("decode", 1), {"a": [10.0, 30.0, 20.0], "b": [5.0, 10.0, 40.0]})
    assert measurement.ratios("a", "b") == [2.0, 3.0, 0.5]
    assert measurement.median("a") == 20.0
