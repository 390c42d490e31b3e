from pathlib import Path

import pytest

from wazn.bench.quiet import QuietMeter, noise, read_machine, read_process

PID = 321


class FakeProc:
    """A /proc in which time passes when a test says so; all amounts in ticks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.user = self.steal = self.own = 0
        (root / str(PID)).mkdir()
        self.pass_time()

    def pass_time(self, user: int = 0, steal: int = 0, own: int = 0) -> None:
        self.user += user
        self.steal += steal
        self.own += own
        cpu = f"cpu  {self.user} 10 20 999 30 1 2 {self.steal} 5 5\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
        (self.root / "stat").write_text(cpu)
        process = f"{PID} (a (b) c) S 1 1 1 0 -1 0 9 9 9 9 {self.own} 7 3 3 20 0 8 0 100 9 9"
        (self.root / str(PID) / "stat").write_text(process)


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path)


@pytest.fixture
def meter(proc: FakeProc, monkeypatch: pytest.MonkeyPatch) -> QuietMeter:
    """A meter for 2 threads; every look at the clock is one second after the one before."""
    seconds = iter(range(1000))
    monkeypatch.setattr("wazn.bench.quiet.time.perf_counter", lambda: float(next(seconds)))
    monkeypatch.setattr("wazn.bench.quiet.os.sysconf", lambda name: 100)
    return QuietMeter(threads=2, proc=proc.root)


def test_idle_and_waiting_time_is_not_busy(proc: FakeProc, meter: QuietMeter) -> None:
    proc.pass_time(user=100, steal=7)
    machine = read_machine(proc.root)
    assert machine.busy == pytest.approx(1.0 + 0.1 + 0.2 + 0.01 + 0.02)
    assert machine.stolen == pytest.approx(0.07)


def test_a_process_name_may_hold_brackets_and_spaces(proc: FakeProc, meter: QuietMeter) -> None:
    proc.pass_time(own=50)
    assert read_process(PID, proc.root) == pytest.approx(0.57)


def test_a_turn_of_the_measured_process_alone_is_quiet(proc: FakeProc, meter: QuietMeter) -> None:
    with meter.turn(PID):
        proc.pass_time(user=200, own=200)
    assert meter.foreign_share == pytest.approx(0)
    assert meter.steal_share == 0
    assert noise(meter) == []


def test_other_programs_count_as_a_share_of_the_threads_time(
    proc: FakeProc, meter: QuietMeter
) -> None:
    with meter.turn(PID):
        proc.pass_time(user=200, own=190)
    assert meter.foreign_share == pytest.approx(0.05)
    assert "other programs took 5.0%" in noise(meter)[0]


def test_stolen_time_alone_makes_a_run_noisy(proc: FakeProc, meter: QuietMeter) -> None:
    with meter.turn(PID):
        proc.pass_time(user=195, own=195, steal=5)
    assert meter.steal_share == pytest.approx(0.025)
    assert "hypervisor 2.5%" in noise(meter)[0]


def test_what_happens_between_turns_does_not_count(proc: FakeProc, meter: QuietMeter) -> None:
    with meter.turn(PID):
        proc.pass_time(user=200, own=200)
    proc.pass_time(user=500, steal=100)
    with meter.turn(PID):
        proc.pass_time(user=200, own=200)
    assert noise(meter) == []


def test_the_errors_of_single_turns_cancel_over_the_run(proc: FakeProc, meter: QuietMeter) -> None:
    for ticks_too_many in (9, -9):
        with meter.turn(PID):
            proc.pass_time(user=190 + ticks_too_many, own=190)
    assert meter.foreign_share == pytest.approx(0)


def test_a_run_without_turns_is_quiet(meter: QuietMeter) -> None:
    assert noise(meter) == []


def test_the_real_proc_shows_the_time_this_process_spends() -> None:
    import os

    before, machine = read_process(os.getpid()), read_machine()
    while read_process(os.getpid()) - before < 0.05:
        pass
    assert read_machine().busy > machine.busy
