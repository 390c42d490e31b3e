"""Who leads: ratios by rule, ranges, crossovers and trends, on lines made by hand."""

from datetime import date, timedelta

import pytest

from wazn.weigh.counting import Group, Line, Snapshot
from wazn.weigh.leaders import Rule, Standing, standing
from wazn.weigh.lens import load_lenses

LENS = load_lenses()["hub-language-panel"]
START = date(2025, 1, 1)


def group(total: float, top: float = 0.0) -> Group:
    return Group(total, 2, "hf:top", top, total, total)


def line(*pairs: tuple[Group, Group]) -> Line:
    """China and the United States, 30 days apart."""
    snapshots = [
        Snapshot(START + timedelta(days=30 * index), {"CN": cn, "US": us}, cn.total + us.total)
        for index, (cn, us) in enumerate(pairs)
    ]
    return Line(LENS, LENS.readings[0], "test", snapshots)


def found(made: Line, **more: object) -> Standing:
    one = standing(made, "country")
    assert one is not None
    return one


def test_the_range_spans_the_rules_and_everyone_left_out() -> None:
    one = found(line((group(100, 60), group(80, 20))))
    assert one.ratio == 1.25
    assert one.ratios[Rule.WITHOUT_TOP] == pytest.approx(40 / 60)
    assert one.left_out == (40 / 80, 100 / 60)
    assert one.range == (0.5, 100 / 60)
    assert (one.leader, one.is_robust) == ("CN", False)


def test_a_lead_that_no_rule_undoes_is_robust() -> None:
    assert found(line((group(100, 10), group(20, 1)))).is_robust
    assert found(line((group(20, 1), group(100, 10)))).is_robust


def test_a_side_of_one_entity_is_not_left_out() -> None:
    one = found(line((group(100, 100), group(50, 50))))
    assert one.left_out == (2.0, 2.0)
    assert Rule.WITHOUT_TOP not in one.ratios


def test_a_crossover_lies_between_two_snapshots_for_each_rule() -> None:
    one = found(
        line(
            (group(50), group(100)),
            (group(90), group(100, 30)),
            (group(120), group(100)),
        )
    )
    assert one.crossover is not None
    first, second, third = (START + timedelta(days=30 * index) for index in range(3))
    assert one.crossover.by_rule[Rule.AS_COUNTED] == (second, third)
    assert one.crossover.by_rule[Rule.WITHOUT_TOP] == (first, second)
    assert (one.crossover.earliest, one.crossover.latest) == (first, third)


def test_a_leader_from_the_start_has_no_day_behind() -> None:
    one = found(line((group(50), group(100)), (group(60), group(100))))
    assert one.crossover is not None
    assert one.crossover.by_rule[Rule.AS_COUNTED] == (None, START)
    assert one.crossover.earliest is None


def test_the_last_of_several_crossovers_counts() -> None:
    values = (50, 150, 50, 150, 160)
    one = found(line(*((group(value), group(100)) for value in values)))
    assert one.crossover is not None
    assert one.crossover.latest == START + timedelta(days=90)


def test_a_single_snapshot_has_neither_crossover_nor_trend() -> None:
    one = found(line((group(2), group(1))))
    assert (one.crossover, one.trend) == (None, None)


def test_a_trend_is_the_growth_in_thirty_days_and_shrugs_off_an_outlier() -> None:
    values = [100 * 1.1**month for month in range(6)]
    values[3] *= 4
    one = found(line(*((group(value), group(100)) for value in values)))
    assert one.trend is not None
    assert one.trend.middle == pytest.approx(1.1)
    assert one.trend.low < 1.1 < one.trend.high


def test_other_groups_are_compared_from_the_largest_down() -> None:
    groups = {"UNKNOWN": group(9), "qwen": group(8), "meta": group(4), "zai": group(2)}
    made = Line(LENS, LENS.readings[0], "test", [Snapshot(START, groups, 23)])
    one = standing(made, "lab")
    assert one is not None
    assert (one.first, one.second, one.ratio) == ("qwen", "meta", 2)
    chosen = standing(made, "lab", ("zai", "meta"))
    assert chosen is not None
    assert chosen.ratio == 0.5


def test_a_snapshot_without_both_sides_has_no_standing() -> None:
    made = Line(LENS, LENS.readings[0], "test", [Snapshot(START, {"CN": group(1)}, 1)])
    assert standing(made, "country") is None
    assert standing(made, "lab") is None
