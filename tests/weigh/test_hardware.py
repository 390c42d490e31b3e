"""Hardware: what is given, measured by energy counters, or assumed and called so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from wazn.errors import BadRequest
from wazn.weigh.hardware import (
    WATTS_BESIDE_PROCESSOR,
    Counter,
    Given,
    Measured,
    describe_hardware,
    joules_between,
    measure_power,
    read_energy,
)

Zone = Callable[[str, str, int], None]


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    """Adds a power domain to an invented sysfs."""

    def add(place: str, name: str, microjoules: int) -> None:
        folder = tmp_path / "sys/class/powercap" / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{microjoules}\n")
        (folder / "max_energy_range_uj").write_text("262143328850\n")

    return add


def test_packages_and_memory_are_counted_and_cores_within_them_are_not(
    tmp_path: Path, zone: Zone
) -> None:
    zone("intel-rapl:0", "package-0", 1_000_000)
    zone("intel-rapl:0:0", "core", 700_000)
    zone("intel-rapl:0:1", "dram", 200_000)
    zone("intel-rapl:1", "package-1", 3_000_000)
    counters = read_energy(tmp_path)
    assert counters is not None
    assert set(counters) == {"intel-rapl:0", "intel-rapl:0:1", "intel-rapl:1"}


def test_a_machine_without_readable_counters_has_none(tmp_path: Path, zone: Zone) -> None:
    assert read_energy(tmp_path) is None
    assert measure_power(lambda: None, tmp_path) is None
    zone("intel-rapl:0", "package-0", 5)
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("secret")
    assert read_energy(tmp_path) is None


def test_a_counter_that_wraps_goes_on() -> None:
    before = {"a": Counter(900, 1000), "b": Counter(5, 1000)}
    after = {"a": Counter(100, 1000), "b": Counter(10, 1000)}
    assert joules_between(before, after) == pytest.approx((200 + 5) / 1e6)


def test_watts_are_joules_over_the_time_of_the_work(tmp_path: Path, zone: Zone) -> None:
    zone("intel-rapl:0", "package-0", 0)

    def work() -> None:
        zone("intel-rapl:0", "package-0", 10**12 // 4)

    found = measure_power(work, tmp_path, rest_s=0.01)
    assert found is not None
    assert found.idle == 0
    assert found.busy > 1000  # a quarter of a megajoule in an instant


def test_what_is_given_is_exact_and_the_rest_says_that_it_is_assumed() -> None:
    found = describe_hardware(Given(price_usd=900.0), cores=8, memory_gib=64, measured=None)
    assert (found.price.value.low, found.price.value.high) == (900.0, 900.0)
    assert found.price.basis == "given"
    assert found.lifetime.basis.startswith("assumed")
    assert found.watts_busy.basis == "estimated: no readable RAPL counter here"
    assert found.watts_busy.value.low < found.watts_busy.value.high


def test_measured_watts_have_the_rest_of_the_machine_added() -> None:
    found = describe_hardware(Given(), cores=8, memory_gib=64, measured=Measured(busy=60, idle=9))
    assert found.watts_busy.value.middle == 60 + WATTS_BESIDE_PROCESSOR
    assert found.watts_idle.value.low == 9
    assert "measured by RAPL" in found.watts_busy.basis


@pytest.mark.parametrize(
    "fields", [{"busy_share": 1.5}, {"lifetime_years": 0.0}, {"watts_busy": float("nan")}]
)
def test_a_figure_that_cannot_be_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(BadRequest, match="give a number from"):
        Given(**fields)
