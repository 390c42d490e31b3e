"""What a million tokens cost, bought from an API or made on a machine of one's own.

Owning costs the machine whether it works or not, and power by the second of work; an API costs by
the token. So there is a volume from which owning is cheaper, or there is none: a machine that is
busy all day may still be dearer than the API. All inputs are intervals; the range of the result is
that of the best and the worst case together, which is wider than any single doubt.

This module knows dollars, seconds and watts; where speeds and prices come from is others' business.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from wazn.errors import BadRequest
from wazn.weigh.hardware import Hardware
from wazn.weigh.interval import Interval
from wazn.weigh.prices import Mix

DAY_S = 86_400.0
DAYS_A_YEAR = 365.25
MILLION = 1e6
MAX_TOKENS_PER_DAY = 1e15


@dataclass(frozen=True, slots=True)
class Throughput:
    """Tokens per second of one machine, all users together, and how that is known."""

    prefill: Interval
    decode: Interval
    basis: str


@dataclass(frozen=True, slots=True)
class Demand:
    """Tokens a day, input and output together, and what they are made of."""

    tokens_per_day: float
    mix: Mix

    def __post_init__(self) -> None:
        if not 0 < self.tokens_per_day <= MAX_TOKENS_PER_DAY:
            raise BadRequest(
                f"{self.tokens_per_day:g} tokens a day cannot be priced; give a number from 1 to "
                f"{MAX_TOKENS_PER_DAY:g}."
            )


@dataclass(frozen=True, slots=True)
class Case:
    """One set of exact figures. A machine has ``capacity`` tokens a day.

    ``fixed`` dollars a day for a machine that is there and idles; ``marginal`` dollars more for
    every token it makes.
    """

    capacity: float
    fixed: float
    marginal: float

    def machines(self, tokens_per_day: float) -> int:
        """How many it takes."""
        return max(1, math.ceil(tokens_per_day / self.capacity - 1e-9))

    def per_million(self, tokens_per_day: float) -> float:
        """Dollars per million tokens at that volume."""
        fixed = self.machines(tokens_per_day) * self.fixed
        return (fixed / tokens_per_day + self.marginal) * MILLION

    def break_even(self, api_per_million: float) -> float | None:
        """Tokens a day from which owning costs no more than the API; None: at no volume.

        Further machines cost what the first does, so if one that is as busy as it can be is
        dearer, so are all.
        """
        saved = api_per_million / MILLION - self.marginal
        if saved <= 0:
            return None
        volume = self.fixed / saved
        return volume if volume <= self.capacity else None


Verdict = Literal["owning is cheaper", "the API is cheaper", "too close to call"]


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Tokens a day at which both cost the same, in the best, the likely and the worst case.

    None: at no volume is owning as cheap as the API.
    """

    best: float | None
    likely: float | None
    worst: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Dollars per million tokens on both sides.

    ``power_only``: what the machine's extra power costs, for those who have the machine anyway.
    """

    own: Interval
    power_only: Interval
    api: Interval
    machines: int
    capacity: Interval
    break_even: BreakEven
    verdict: Verdict


def compare(
    hardware: Hardware, throughput: Throughput, api: Interval, demand: Demand
) -> Comparison:
    """Own hardware against an API whose mix costs ``api`` dollars per million tokens."""
    best, likely, worst = cases(hardware, throughput, demand.mix)
    volume = demand.tokens_per_day
    own = Interval(best.per_million(volume), likely.per_million(volume), worst.per_million(volume))
    return Comparison(
        own=own,
        # sorted: a given power when busy less an estimated one when idle may turn the order round
        power_only=Interval(*sorted(case.marginal * MILLION for case in (best, likely, worst))),
        api=api,
        machines=likely.machines(volume),
        capacity=Interval(worst.capacity, likely.capacity, best.capacity),
        break_even=BreakEven(
            best.break_even(api.high), likely.break_even(api.middle), worst.break_even(api.low)
        ),
        verdict=_verdict(own, api),
    )


def cases(hardware: Hardware, throughput: Throughput, mix: Mix) -> tuple[Case, Case, Case]:
    """The best, the likely and the worst case for the owner."""
    return (
        _case(hardware, throughput, mix, "low"),
        _case(hardware, throughput, mix, "middle"),
        _case(hardware, throughput, mix, "high"),
    )


def at_full_use(hardware: Hardware, throughput: Throughput, mix: Mix) -> Interval:
    """Dollars per million tokens of a machine that is as busy as it can be."""
    best, likely, worst = cases(hardware, throughput, mix)
    return Interval(*(case.per_million(case.capacity) for case in (best, likely, worst)))


Dearness = Literal["low", "middle", "high"]
_OPPOSITE: dict[Dearness, Dearness] = {"low": "high", "middle": "middle", "high": "low"}


def _case(hardware: Hardware, throughput: Throughput, mix: Mix, dearness: Dearness) -> Case:
    """``low`` is cheap for the owner: low costs, but high speed, life and use."""

    def cost(interval: Interval) -> float:
        return float(getattr(interval, dearness))

    def gain(interval: Interval) -> float:
        return float(getattr(interval, _OPPOSITE[dearness]))

    input_share = float(mix.input_share)
    seconds = input_share / gain(throughput.prefill) + (1 - input_share) / gain(throughput.decode)
    dollars_per_joule = cost(hardware.power.value) / 3.6e6
    idle = cost(hardware.watts_idle.value)
    busy = max(idle, cost(hardware.watts_busy.value))
    days = gain(hardware.lifetime.value) * DAYS_A_YEAR
    return Case(
        capacity=DAY_S * gain(hardware.busy_share.value) / seconds,
        fixed=cost(hardware.price.value) / days + idle * DAY_S * dollars_per_joule,
        marginal=seconds * (busy - idle) * dollars_per_joule,
    )


def _verdict(own: Interval, api: Interval) -> Verdict:
    if own.high < api.low:
        return "owning is cheaper"
    if own.low > api.high:
        return "the API is cheaper"
    return "too close to call"
