"""The figures that were computed from the public series by other means come out of the lenses."""

import csv
import gzip
from datetime import date

import pytest

from tests.weigh.shared_data import shared_data
from wazn.weigh.attribution import region_of_ollama
from wazn.weigh.counting import Line, lines_of_store
from wazn.weigh.leaders import Rule, history, standing
from wazn.weigh.lens import load_lenses
from wazn.weigh.store import ObservationStore

PANEL = {
    date(2025, 1, 14): (0.57, 0.63, 0.08),
    date(2025, 3, 7): (0.85, 1.06, 0.12),
    date(2025, 5, 7): (1.12, 1.22, 0.19),
    date(2025, 7, 7): (1.94, 1.80, 0.34),
    date(2025, 8, 7): (1.92, 2.31, 0.44),
    date(2025, 9, 7): (1.09, 1.19, 0.40),
}
"""Snapshot → China/US as counted, without each side's top repository, without the model filter."""

END = date(2025, 10, 31)


def line_of(store: ObservationStore, lens: str, day: date = END) -> Line:
    """The only line of a lens, by country."""
    (line,) = lines_of_store(store.connect(), load_lenses()[lens], "country", day)
    return line


def ratios(line: Line, rule: Rule, digits: int = 2) -> dict[date, float]:
    return {day: round(ratio, digits) for day, ratio in history(line, "CN", "US", rule)}


def test_the_constant_panel_has_the_known_ratios(series_store: ObservationStore) -> None:
    line = line_of(series_store, "hub-language-panel")
    assert len(line.snapshots) == 9
    for day, (as_counted, without_top, _) in PANEL.items():
        assert ratios(line, Rule.AS_COUNTED)[day] == as_counted
        assert ratios(line, Rule.WITHOUT_TOP)[day] == without_top


def test_all_repositories_of_the_panel_have_the_known_ratios(
    series_store: ObservationStore,
) -> None:
    line = line_of(series_store, "hub-all-panel")
    for day, (_, _, unfiltered) in PANEL.items():
        assert ratios(line, Rule.AS_COUNTED)[day] == unfiltered


def test_the_panel_counts_to_the_last_download(series_store: ObservationStore) -> None:
    last = line_of(series_store, "hub-language-panel").snapshots[-1]
    china, america = last.groups["CN"], last.groups["US"]
    assert (china.total, china.num_entities) == (86_715_437, 417)
    assert (america.total, america.num_entities) == (79_266_094, 382)
    assert america.top_entity == "hf:google/t5gemma-b-b-prefixlm"


def test_the_panel_crossed_over_between_february_and_may(series_store: ObservationStore) -> None:
    found = standing(line_of(series_store, "hub-language-panel"), "country")
    assert found is not None
    assert found.leader == "CN"
    assert not found.is_robust
    assert found.crossover is not None
    assert found.crossover.by_rule[Rule.AS_COUNTED] == (date(2025, 4, 7), date(2025, 5, 7))
    assert found.crossover.by_rule[Rule.WITHOUT_TOP] == (date(2025, 2, 14), date(2025, 3, 7))
    assert (found.crossover.earliest, found.crossover.latest) == (
        *(date(2025, 2, 14), date(2025, 5, 7)),
    )


@pytest.mark.parametrize(
    ("day", "expected"),
    [(date(2025, 7, 17), 2.17), (date(2026, 1, 1), 2.13), (date(2026, 8, 21), 1.75)],
)
def test_ollama_has_the_known_ratios(
    series_store: ObservationStore, day: date, expected: float
) -> None:
    found = standing(line_of(series_store, "ollama-pulls", day), "country")
    assert found is not None
    assert found.snapshot.day == day
    assert (round(1 / found.ratio, 2), found.leader) == (expected, "US")


def test_ollama_has_the_known_totals(series_store: ObservationStore) -> None:
    groups = line_of(series_store, "ollama-pulls", date(2026, 8, 21)).snapshots[-1].groups
    assert groups["US"].total == 506_437_798
    assert groups["CN"].total == 290_031_200
    assert groups["EU"].total == 60_409_200
    assert groups["UNKNOWN"].total == 39_100_100


def test_every_country_that_ollama_s_library_was_given_is_ours_too() -> None:
    regions = {"china": "CN", "us": "US", "eu": "EU", "other/unknown": "UNKNOWN"}
    with gzip.open(shared_data("ollama_pulls_daily.csv.gz"), "rt") as file:
        given = {row["model"]: regions[row["region_guess"]] for row in csv.DictReader(file)}
    assert {name: region_of_ollama(name) for name in given} == given


def test_publishers_of_no_table_stay_in_the_total_and_fixtures_do_not(
    series_store: ObservationStore,
) -> None:
    with open(shared_data("sample_hf_textgen_top_2026-09-05.csv"), encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if "-internal-testing/" not in row["model_id"]]
    (snapshot,) = line_of(series_store, "hub-top-list", date(2026, 9, 30)).snapshots
    assert snapshot.total == sum(int(row["downloads_30d"]) for row in rows)
    china = sum(int(row["downloads_30d"]) for row in rows if row["atom_region"] == "china")
    assert snapshot.groups["CN"].total == china
    assert snapshot.groups["UNKNOWN"].total > snapshot.total / 5
