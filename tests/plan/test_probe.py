"""The probe: this machine, as measured, and what disturbed it."""

import pytest

from wazn.bench.ceilings import Ceilings
from wazn.bench.quiet import CpuSeconds
from wazn.plan import probe
from wazn.plan.probe import probe_machine


def test_the_probe_reports_ceilings_memory_and_what_others_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moments = iter((100.0, 102.0))
    busy = iter((CpuSeconds(50.0, 1.0), CpuSeconds(53.5, 1.1)))
    own = iter((10.0, 13.0))
    monkeypatch.setattr(probe, "perf_counter", lambda: next(moments))
    monkeypatch.setattr(probe, "read_machine", lambda: next(busy))
    monkeypatch.setattr(probe, "read_process", lambda pid: next(own))
    monkeypatch.setattr(probe, "measure_ceilings", lambda threads: Ceilings(2e10, 1e11))
    found = probe_machine(threads=2)
    assert (found.bandwidth, found.compute, found.threads) == (2e10, 1e11, 2)
    assert found.memory_bytes > 0
    assert found.foreign_share == pytest.approx(0.6 / 4)  # 0.5 s of others, 0.1 s stolen
