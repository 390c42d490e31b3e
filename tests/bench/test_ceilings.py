import pytest

from wazn.bench.ceilings import Ceilings
from wazn.bench.workload import Task

CEILINGS = Ceilings(bandwidth=1000.0, compute=500.0)
WORK = {"weight_bytes": 712, "position_bytes": 1, "prefill_macs": 5}


def test_prefill_is_held_against_multiply_accumulates() -> None:
    assert CEILINGS.share(Task("prefill", 8), WORK, rate=50.0) == pytest.approx(0.5)


def test_decode_reads_weights_once_a_step_and_everyones_keys_and_values() -> None:
    assert CEILINGS.share(Task("decode", 1), WORK, rate=0.5) == pytest.approx(
        0.5 * (712 + 288) / 1000
    )
    steps_per_second = 40.0 / 8
    expected = steps_per_second * (712 + 8 * 288) / 1000
    assert CEILINGS.share(Task("decode", 8), WORK, rate=40.0) == pytest.approx(expected)


def test_a_ceiling_is_the_best_that_was_seen() -> None:
    assert CEILINGS.best_of(Ceilings(900.0, 600.0)) == Ceilings(1000.0, 600.0)
