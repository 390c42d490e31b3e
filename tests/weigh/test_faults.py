"""Faults of real counters, as numbers that were really seen, and numbers that only look like it."""

import csv
import gzip
from collections import Counter, defaultdict
from datetime import date, timedelta
from itertools import pairwise

import pytest

from tests.weigh.shared_data import shared_data
from wazn.weigh.faults import (
    Fault,
    FaultKind,
    Point,
    absences,
    clean,
    find_faults,
    find_fixtures,
    find_renames,
    missing_days,
)

DAY = date(2026, 9, 5)


def months(*values: float) -> list[Point]:
    """One value a month, the first in November 2025."""
    return [
        (date(2025 + (10 + i) // 12, (10 + i) % 12 + 1, 1), value) for i, value in enumerate(values)
    ]


def kinds(faults: list[Fault]) -> list[FaultKind]:
    return [fault.kind for fault in faults]


def test_a_spike_of_two_months_is_named_with_its_days() -> None:
    points = months(6_871, 1_542_506, 4_267_077, 2_936)  # KBLab/bert-base-swedish-cased-ner
    (fault,) = find_faults("hf:KBLab/ner", "downloads_30d", points, "window")
    assert (fault.kind, fault.first, fault.last) == ("spike", date(2025, 12, 1), date(2026, 1, 1))
    assert fault.detail == "6,871 → 1,542,506 → 4,267,077 → 2,936"
    assert clean(points, [fault]) == [points[0], points[3]]


def test_a_level_that_changes_for_good_is_a_step() -> None:
    points = months(26_509_158, 29_787_495, 371_964, 689_939)  # Qwen2.5-1.5B-Instruct
    (fault,) = find_faults("hf:Qwen/Qwen2.5-1.5B-Instruct", "downloads_30d", points, "window")
    assert (fault.kind, fault.first) == ("step", date(2026, 1, 1))
    assert fault.detail == "down 80-fold, 29,787,495 → 371,964"
    assert clean(points, [fault]) == points


def test_a_release_is_no_step_until_it_is_beyond_belief() -> None:
    assert (
        find_faults("hf:o/gpt-oss-20b", "downloads_30d", months(91_228, 9_103_258), "window") == []
    )
    unbelievable = months(340, 16_090_928)  # google/t5gemma-b-b-prefixlm
    assert kinds(find_faults("hf:g/t", "downloads_30d", unbelievable, "window")) == ["step"]


def test_a_silent_zero_is_a_dip() -> None:
    points = months(150_000, 0, 160_000)
    (fault,) = find_faults("hf:a/b", "downloads_30d", points, "window")
    assert (fault.kind, fault.first, fault.last) == ("dip", points[1][0], points[1][0])


def test_a_total_that_comes_back_was_misread_and_one_that_stays_down_fell() -> None:
    misread = months(580_530, 210, 1_185_842)  # Qwen3-0.6B on ModelScope
    (dip,) = find_faults("ms:Qwen/Qwen3-0.6B", "downloads_all_time", misread, "total")
    assert (dip.kind, dip.detail) == ("dip", "580,530 → 210 → 1,185,842")
    (fall,) = find_faults("ollama:lfm2", "pulls", months(1_700_000, 907_600, 910_000), "total")
    assert (fall.kind, fall.detail) == (
        "falling counter",
        "a total fell by 47%, 1,700,000 → 907,600",
    )


def test_the_recovery_of_a_dip_is_not_a_step_as_well() -> None:
    points = months(63_475, 334, 228_765)  # Qwen3-1.7B on ModelScope
    assert kinds(find_faults("ms:Qwen/Qwen3-1.7B", "downloads_all_time", points, "total")) == [
        "dip"
    ]


def test_small_corrections_and_small_counters_are_left_alone() -> None:
    assert find_faults("ollama:x", "pulls", months(100_000, 95_000, 96_000), "total") == []
    assert find_faults("hf:a/b", "downloads_30d", months(10, 9_000, 12), "window") == []


def test_two_values_of_one_day_are_named_and_the_last_is_used() -> None:
    points = [(DAY, 5.0), (DAY, 7.0), (DAY + timedelta(1), 7.0)]
    (fault,) = find_faults("hf:a/b", "downloads_30d", points, "window")
    assert (fault.kind, fault.detail) == ("two values", "5 and 7 on 2026-09-05")


def test_days_missing_from_a_daily_series_are_counted() -> None:
    days = [DAY + timedelta(n) for n in (0, 1, 2, 5, 6)]
    (fault,) = missing_days("group:all", "pulls", days)
    assert (fault.first, fault.last) == (days[2], days[3])
    assert "where 2 more would be usual (every 1 days)" in fault.detail
    assert missing_days("group:all", "pulls", [DAY, DAY + timedelta(9)]) == []


def test_months_of_different_lengths_are_no_gap_but_a_missing_one_is() -> None:
    regular = [day for day, _ in months(*range(12))]
    assert missing_days("group:all", "downloads_30d", regular) == []
    assert kinds(missing_days("group:all", "downloads_30d", regular[:5] + regular[6:])) == [
        "missing days"
    ]


def test_an_entity_lacking_from_a_snapshot_is_told_from_one_not_yet_or_no_longer_there() -> None:
    snapshots = [DAY + timedelta(n) for n in range(6)]
    (fault,) = absences("hf:a/b", "downloads_30d", [snapshots[1], snapshots[4]], snapshots)
    assert (fault.first, fault.last) == (snapshots[2], snapshots[3])
    assert absences("hf:a/b", "downloads_30d", snapshots[2:5], snapshots) == []


def test_a_renamed_organisation_is_recognised_by_what_moved_with_it() -> None:
    before = {"hf:THUDM/glm-4-9b": 900_000.0, "hf:THUDM/small": 10.0, "hf:Qwen/a": 5.0}
    after = {"hf:zai-org/glm-4-9b": 910_000.0, "hf:Qwen/a": 6.0, "hf:copy/glm-4-9b": 3.0}
    (fault,) = find_renames("downloads_all_time", before, after, DAY)
    assert (fault.kind, fault.entity) == ("rename", "hf:THUDM/glm-4-9b")
    assert fault.detail == "900,000 is gone, hf:zai-org/glm-4-9b came with 910,000"


def test_a_large_repository_that_is_gone_without_an_heir_has_vanished() -> None:
    (fault,) = find_renames("downloads_30d", {"hf:a/b": 400_000.0}, {"hf:c/b": 3.0}, DAY)
    assert (fault.kind, fault.detail) == ("vanished", "400,000 last time, not listed now")


def test_test_fixtures_at_the_top_are_named_with_their_rank() -> None:
    values = {
        "hf:Qwen/Qwen3-0.6B": 21_952_078.0,
        "hf:trl-internal-testing/tiny-Qwen2ForCausalLM-2.5": 17_833_129.0,
        "hf:openai-community/gpt2": 14_739_982.0,
        "hf:someone/tiny-random-llama": 20.0,
        "hf:TinyLlama/TinyLlama-1.1B-Chat-v1.0": 1_000.0,
        "hf:prajjwal1/tiny-bert": 900.0,
    }
    faults = find_fixtures("downloads_30d", values, DAY)
    assert [fault.entity for fault in faults] == [
        "hf:trl-internal-testing/tiny-Qwen2ForCausalLM-2.5",
        "hf:someone/tiny-random-llama",
    ]
    assert faults[0].detail == "17,833,129, rank 2 of 6, is loaded by tests"


def test_the_falls_of_the_real_scrapes_are_found_and_nothing_falls_that_did_not() -> None:
    modelscope: dict[str, list[Point]] = defaultdict(list)
    with open(shared_data("osir_hf_models_timeseries_tracked.csv"), encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["modelscope_total_downloads"]:
                day = date.fromisoformat(row["snapshot_date"])
                modelscope[row["model_id"]].append((day, float(row["modelscope_total_downloads"])))
    faults = [
        fault
        for name, points in modelscope.items()
        for fault in find_faults(f"ms:{name}", "downloads_all_time", points, "total")
    ]
    found = Counter(kinds(faults))
    fallen = sum(
        new < old * 0.9 for points in modelscope.values() for (_, old), (_, new) in pairwise(points)
    )
    assert found[FaultKind.DIP] + found[FaultKind.FALLING] == fallen == 12
    assert "ms:Qwen/Qwen3-0.6B" in {fault.entity for fault in faults if fault.kind == "dip"}


def test_the_real_daily_series_falls_once_and_lacks_34_days() -> None:
    series: dict[str, list[Point]] = defaultdict(list)
    with gzip.open(shared_data("ollama_pulls_daily.csv.gz"), "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            day = date.fromisoformat(row["date"])
            series[row["model"]].append((day, float(row["pulls_cumulative_rounded"])))
    falling = [
        fault.entity
        for name, points in series.items()
        for fault in find_faults(f"ollama:{name}", "pulls", points, "total")
        if fault.kind in ("dip", "falling counter")
    ]
    assert falling == ["ollama:lfm2"]
    days = sorted({day for points in series.values() for day, _ in points})
    gaps = missing_days("group:all", "pulls", days)
    assert [fault.detail.split(", where ")[1].split()[0] for fault in gaps] == ["1", "33"]


@pytest.mark.parametrize("values", [(), (5.0,), (0.0, 0.0, 0.0)])
def test_short_and_silent_series_have_no_faults(values: tuple[float, ...]) -> None:
    assert find_faults("hf:a/b", "downloads_30d", months(*values), "window") == []
