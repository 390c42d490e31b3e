"""Cost: own hardware against an API, where they break even, and what is said of doubts."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazn.errors import BadRequest
from wazn.weigh.cost import (
    DAY_S,
    Case,
    Demand,
    Throughput,
    at_full_use,
    cases,
    compare,
)
from wazn.weigh.hardware import Given, Hardware, describe_hardware
from wazn.weigh.interval import Interval
from wazn.weigh.prices import Mix

MIX = Mix(Decimal("0.5"), Decimal(0))
EXACT = Given(
    price_usd=365.25 * 4,
    lifetime_years=4.0,
    watts_busy=100.0,
    watts_idle=40.0,
    power_usd_kwh=0.25,
    busy_share=0.5,
)
SPEED = Throughput(Interval.exactly(100), Interval.exactly(20), "measured")


def _hardware(given: Given = EXACT) -> Hardware:
    return describe_hardware(given, cores=4, memory_gib=32, measured=None)


def test_a_day_of_owning_is_the_machine_its_idling_and_its_work() -> None:
    likely = cases(_hardware(), SPEED, MIX)[1]
    seconds = 0.5 / 100 + 0.5 / 20  # a token, half of them read and half written
    assert likely.fixed == pytest.approx(1 + 0.04 * 24 * 0.25)  # a dollar a day, and 0.96 kWh
    assert likely.marginal == pytest.approx(seconds * 0.06 / 3600 * 0.25)  # 60 W more
    assert likely.capacity == pytest.approx(DAY_S / 2 / seconds)


def test_the_whole_day_adds_up_to_the_bill_of_the_meter() -> None:
    likely = cases(_hardware(), SPEED, MIX)[1]
    a_day = likely.per_million(likely.capacity) * likely.capacity / 1e6
    kwh = (12 * 100 + 12 * 40) / 1000
    assert a_day == pytest.approx(1 + kwh * 0.25)
    assert at_full_use(_hardware(), SPEED, MIX).middle == pytest.approx(
        a_day / likely.capacity * 1e6
    )


def test_another_machine_is_bought_when_one_is_full() -> None:
    case = Case(capacity=1000, fixed=1, marginal=0)
    assert [case.machines(n) for n in (1, 1000, 1001, 5000)] == [1, 1, 2, 5]
    assert case.per_million(2000) == pytest.approx(2 / 2000 * 1e6)


@given(
    fixed=st.floats(0.01, 100),
    marginal=st.floats(0, 1e-6),
    capacity=st.floats(1e3, 1e9),
    api=st.floats(0.001, 100),
)
def test_at_the_break_even_both_cost_the_same_and_below_it_the_api_less(
    fixed: float, marginal: float, capacity: float, api: float
) -> None:
    case = Case(capacity, fixed, marginal)
    volume = case.break_even(api)
    if volume is not None:
        assert case.per_million(volume) == pytest.approx(api, rel=1e-6)
        assert case.per_million(volume / 2) > api
    else:
        assert all(case.per_million(capacity * n) > api * (1 - 1e-9) for n in (0.5, 1, 2, 7))


def test_owning_that_is_dearer_at_any_volume_has_no_break_even() -> None:
    found = compare(_hardware(), SPEED, Interval.exactly(0.01), Demand(1e6, MIX))
    assert found.verdict == "the API is cheaper"
    assert found.break_even.best is found.break_even.likely is found.break_even.worst is None


def test_owning_that_is_cheaper_says_from_which_volume() -> None:
    found = compare(_hardware(), SPEED, Interval.exactly(50), Demand(1e6, MIX))
    assert found.verdict == "owning is cheaper"
    assert found.break_even.likely is not None
    assert found.break_even.likely < 1e6


def test_assumptions_widen_both_sides_of_the_range() -> None:
    assumed = _hardware(Given())
    found = compare(assumed, SPEED, Interval(1, 2, 3), Demand(5e5, MIX))
    assert found.own.low < found.own.middle < found.own.high
    assert found.capacity.low < found.capacity.middle < found.capacity.high
    even = found.break_even
    assert even.best is not None
    assert even.likely is None or even.best < even.likely
    assert found.verdict == "too close to call"


@given(
    st.builds(
        Given,
        price_usd=st.none() | st.floats(0, 1e5),
        lifetime_years=st.none() | st.floats(0.5, 20),
        watts_busy=st.none() | st.floats(0, 2000),
        watts_idle=st.none() | st.floats(0, 2000),
        power_usd_kwh=st.none() | st.floats(0, 1),
        busy_share=st.none() | st.floats(0.01, 1),
    ),
    st.floats(1, 1e9),
)
def test_whatever_is_given_the_range_is_in_order(given: Given, volume: float) -> None:
    found = compare(_hardware(given), SPEED, Interval(1, 2, 3), Demand(volume, MIX))
    assert 0 <= found.own.low <= found.own.middle <= found.own.high


@pytest.mark.parametrize("volume", [0, -1, 1e16, float("nan")])
def test_a_volume_that_cannot_be_is_refused(volume: float) -> None:
    with pytest.raises(BadRequest, match="tokens a day cannot be priced"):
        Demand(volume, MIX)
