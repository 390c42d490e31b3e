"""What a machine costs to own and to run: price, years, watts, power, and how busy it can be.

Every figure carries its basis, because most of them are assumptions until their owner says
better: given, measured (RAPL counters of the processor), or assumed, and from what. Knows nothing
of models and of prices behind an API.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wazn.errors import BadRequest
from wazn.weigh.interval import Interval

ROOT = Path("/")

# Until their owner says better. A price is what a machine with so much of each sells for, roughly.
BASE_USD, CORE_USD, GIB_USD = 300.0, 50.0, 5.0
PRICE_SPREAD = (0.6, 1.7)
LIFETIME_YEARS = Interval(3, 4, 6)
POWER_USD_KWH = Interval(0.08, 0.20, 0.35)
BUSY_SHARE = Interval(0.3, 0.5, 0.8)

# Watts of a whole machine at its plug: board, memory, disk, fans and the loss of the supply, and
# what a busy core adds.
BASE_WATTS, CORE_WATTS, IDLE_WATTS = 30.0, 8.0, 25.0
WATTS_SPREAD = (0.5, 1.8)
WATTS_BESIDE_PROCESSOR = 25.0
"""What the counters of the processor do not see, added to what they measured."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, its unit, and where it comes from."""

    value: Interval
    unit: str
    basis: str


@dataclass(frozen=True, slots=True)
class Hardware:
    """One machine: dollars, years, watts at the plug, dollars per kWh, share of the day busy."""

    price: Figure
    lifetime: Figure
    watts_busy: Figure
    watts_idle: Figure
    power: Figure
    busy_share: Figure

    def figures(self) -> Mapping[str, Figure]:
        """All of them by name, as they are shown."""
        return {
            "machine price": self.price,
            "lifetime": self.lifetime,
            "power when busy": self.watts_busy,
            "power when idle": self.watts_idle,
            "price of power": self.power,
            "busy at most": self.busy_share,
        }


@dataclass(frozen=True, slots=True)
class Given:
    """What the owner said; None where a default has to do."""

    price_usd: float | None = None
    lifetime_years: float | None = None
    watts_busy: float | None = None
    watts_idle: float | None = None
    power_usd_kwh: float | None = None
    busy_share: float | None = None

    def __post_init__(self) -> None:
        for name, least, most in (
            ("price_usd", 0.0, 1e9),
            ("lifetime_years", 0.1, 100.0),
            ("watts_busy", 0.0, 1e6),
            ("watts_idle", 0.0, 1e6),
            ("power_usd_kwh", 0.0, 100.0),
            ("busy_share", 0.001, 1.0),
        ):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                what = name.replace("_", " ")
                raise BadRequest(f"{what} is {value:g}; give a number from {least:g} to {most:g}.")


@dataclass(frozen=True, slots=True)
class Measured:
    """Watts of the processor by its own counters: under full load, and at rest just before."""

    busy: float
    idle: float


def describe_hardware(
    given: Given, cores: int, memory_gib: float, measured: Measured | None
) -> Hardware:
    """The machine as far as it is known: given, else measured, else assumed and said so."""
    dollars = BASE_USD + CORE_USD * cores + GIB_USD * memory_gib
    return Hardware(
        price=_figure(
            given.price_usd,
            "USD",
            _spread(dollars, PRICE_SPREAD),
            f"assumed: {BASE_USD:g} USD, {CORE_USD:g} a core, {GIB_USD:g} a GiB free",
        ),
        lifetime=_figure(given.lifetime_years, "years", LIFETIME_YEARS, "assumed"),
        watts_busy=_watts(
            given.watts_busy,
            None if measured is None else measured.busy,
            _spread(BASE_WATTS + CORE_WATTS * cores, WATTS_SPREAD),
        ),
        watts_idle=_watts(
            given.watts_idle,
            None if measured is None else measured.idle,
            _spread(IDLE_WATTS, WATTS_SPREAD),
        ),
        power=_figure(given.power_usd_kwh, "USD per kWh", POWER_USD_KWH, "assumed"),
        busy_share=_figure(given.busy_share, "of the day", BUSY_SHARE, "assumed"),
    )


def _spread(value: float, shares: tuple[float, float]) -> Interval:
    return Interval(value * shares[0], value, value * shares[1])


def _figure(given: float | None, unit: str, default: Interval, basis: str) -> Figure:
    if given is not None:
        return Figure(Interval.exactly(given), unit, "given")
    return Figure(default, unit, basis)


def _watts(given: float | None, measured: float | None, estimate: Interval) -> Figure:
    if given is None and measured is not None:
        whole = measured + WATTS_BESIDE_PROCESSOR
        beside = f"{WATTS_BESIDE_PROCESSOR:g} W for the rest assumed"
        return Figure(
            Interval(measured, whole, measured + 2 * WATTS_BESIDE_PROCESSOR),
            "W",
            f"processor measured by RAPL, {beside}",
        )
    return _figure(given, "W", estimate, "estimated: no readable RAPL counter here")


def measure_power(
    work: Callable[[], object], root: Path = ROOT, rest_s: float = 0.3
) -> Measured | None:
    """Watts of the processor while ``work`` runs and while nothing does.

    None where the counters are missing or only root may read them.
    """
    start = read_energy(root)
    if start is None:
        return None
    began = time.perf_counter()
    time.sleep(rest_s)
    rested, middle = time.perf_counter(), read_energy(root)
    work()
    ended, stop = time.perf_counter(), read_energy(root)
    if middle is None or stop is None or start.keys() != stop.keys():
        return None
    return Measured(
        busy=joules_between(middle, stop) / (ended - rested),
        idle=joules_between(start, middle) / (rested - began),
    )


@dataclass(frozen=True, slots=True)
class Counter:
    """An energy counter in microjoules, and where it begins again at 0."""

    microjoules: int
    wraps_at: int


def read_energy(root: Path = ROOT) -> Mapping[str, Counter] | None:
    """The counters of all processor packages and their memory; None if any cannot be read.

    Domains within a package (cores, uncore) are part of it and are left out; memory is not.
    """
    counters = {}
    for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text(encoding="ascii").strip()
            if not (name.startswith("package") or name == "dram"):
                continue
            counters[zone.name] = Counter(
                int((zone / "energy_uj").read_text(encoding="ascii")),
                int((zone / "max_energy_range_uj").read_text(encoding="ascii")),
            )
        except (OSError, ValueError):
            return None
    return counters or None


def joules_between(before: Mapping[str, Counter], after: Mapping[str, Counter]) -> float:
    """Energy that all counters gained, each wrapping at most once."""
    gained = 0
    for name, counter in after.items():
        difference = counter.microjoules - before[name].microjoules
        gained += difference if difference >= 0 else difference + counter.wraps_at
    return gained / 1e6
