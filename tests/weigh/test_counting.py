"""How a lens counts: universe, panel, attribution and outlier rules, on stores made by hand."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from tests.weigh.observed import CAPTURED, observed, snapshot
from wazn.weigh.counting import By, Line, lines_of_store, rows_behind
from wazn.weigh.lens import Lens, load_lenses
from wazn.weigh.observation import Observation
from wazn.weigh.store import ObservationStore

LENSES = load_lenses()
PANEL = LENSES["hub-language-panel"]
DAYS = [date(2025, month, 7) for month in (1, 2, 3, 4, 5)]
LATER = date(2026, 12, 31)


def lines(
    folder: Path, observations: list[Observation], lens: Lens, by: By = "country"
) -> list[Line]:
    """The lines of a lens over a store with these observations."""
    store = ObservationStore(folder)
    store.append(observations)
    return [*lines_of_store(store.connect(), lens, by, LATER)]


def without_panel(lens: Lens) -> Lens:
    return replace(lens, panel_days=None)


def test_groups_add_up_and_nobody_is_left_out(tmp_path: Path) -> None:
    downloads = {"Qwen/a": 5, "Qwen/b": 7, "meta-llama/c": 4, "nobody-knows/d": 3, "mistralai/e": 2}
    (line,) = lines(tmp_path, snapshot(DAYS[0], downloads), without_panel(PANEL))
    (one,) = line.snapshots
    assert {name: group.total for name, group in one.groups.items()} == {
        "CN": 12,
        "US": 4,
        "UNKNOWN": 3,
        "EU": 2,
    }
    assert one.total == 21
    assert (one.groups["CN"].top_entity, one.groups["CN"].top_value) == ("hf:Qwen/b", 7)


def test_publishers_are_found_whatever_their_case(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, snapshot(DAYS[0], {"QWEN/a": 5}), without_panel(PANEL))
    assert [*line.snapshots[0].groups] == ["CN"]


def test_two_definitions_are_two_lines(tmp_path: Path) -> None:
    both = [
        *snapshot(DAYS[0], {"Qwen/a": 1}, "osir-org-all"),
        *snapshot(DAYS[0], {"Qwen/a": 1}, "hub-api"),
    ]
    found = lines(tmp_path, both, without_panel(LENSES["hub-all-panel"]))
    assert [line.reading.definition for line in found] == ["osir-org-all", "hub-api"]
    assert [line.snapshots[0].total for line in found] == [1, 1]


def test_two_sources_are_two_lines(tmp_path: Path) -> None:
    one = snapshot(DAYS[0], {"Qwen/a": 1})
    other = [replace(row, source="another") for row in one]
    found = lines(tmp_path, one + other, without_panel(PANEL))
    assert [line.source for line in found] == ["another", "test"]


def test_a_restated_reading_counts_as_it_was_captured_last(tmp_path: Path) -> None:
    (old,) = snapshot(DAYS[0], {"Qwen/a": 1})
    new = replace(old, value=9, captured_at=CAPTURED + timedelta(days=1))
    (line,) = lines(tmp_path, [old, new], without_panel(PANEL))
    assert line.snapshots[0].total == 9


def test_a_panel_has_the_publishers_of_every_snapshot(tmp_path: Path) -> None:
    rows = [row for day in DAYS for row in snapshot(day, {"Qwen/a": 10, "google/b": 10})]
    rows += snapshot(DAYS[-1], {"openai/gpt-oss": 1000})
    lens = replace(PANEL, readings=(replace(PANEL.readings[0], panel_from=""),))
    (line,) = lines(tmp_path, rows, lens)
    assert [one.total for one in line.snapshots] == [20] * 5


def test_a_panel_may_come_from_another_definition(tmp_path: Path) -> None:
    listed = snapshot(DAYS[1], {"openai/gpt-oss": 1000})  # crawled before, listed only now
    crawled = [row for day in DAYS[:2] for row in snapshot(day, {"openai": 1}, "osir-org-all")]
    (line,) = lines(tmp_path, listed + crawled, PANEL)
    assert line.snapshots[0].total == 1000


def test_a_panel_forgets_snapshots_before_its_days(tmp_path: Path) -> None:
    old = snapshot(date(2024, 1, 1), {"google/b": 1})
    rows = [row for day in DAYS for row in snapshot(day, {"Qwen/a": 10})]
    lens = replace(PANEL, readings=(replace(PANEL.readings[0], panel_from=""),))
    (line,) = lines(tmp_path, old + rows, lens)
    assert [one.day for one in line.snapshots] == DAYS
    assert line.snapshots[0].total == 10


def properties(name: str, pipeline: str, created: date, day: date) -> list[Observation]:
    days = (created - date(1970, 1, 1)).days
    return [
        observed(f"hf:{name}", f"is:pipeline={pipeline}", 1, day),
        observed(f"hf:{name}", "created", days, day),
    ]


def test_the_universe_of_language_models(tmp_path: Path) -> None:
    day, new, old = DAYS[0], date(2024, 1, 1), date(2022, 1, 1)
    rows = []
    for name, pipeline, created in (
        ("Qwen/Qwen3-8B", "text-generation", new),
        ("Qwen/Qwen3-VL", "image-text-to-text", new),
        ("Qwen/Qwen3-8B-GGUF", "text-generation", new),
        ("Qwen/Qwen3-Embedding", "text-generation", new),
        ("Qwen/Qwen-Image", "text-to-image", new),
        ("google/old-model", "text-generation", old),
        ("somebody/model", "text-generation", new),
        ("trl-internal-testing/tiny-Qwen2ForCausalLM-2.5", "text-generation", new),
    ):
        rows += properties(name, pipeline, created, day)
        rows.append(observed(f"hf:{name}", "downloads_all_time", 1, day))
    (line,) = lines(tmp_path, rows, LENSES["hub-language-cumulative"], "model")
    assert sorted(line.snapshots[0].groups) == ["hf:Qwen/Qwen3-8B", "hf:Qwen/Qwen3-VL"]


def test_an_entity_counts_while_it_is_young(tmp_path: Path) -> None:
    days = [date(2025, 1, 1), date(2026, 6, 1)]
    rows = properties("Qwen/a", "text-generation", date(2024, 12, 1), days[0])
    rows += [row for day in days for row in snapshot(day, {"Qwen/a": 4}, "hub-api")]
    (line,) = lines(tmp_path, rows, LENSES["hub-young-share"])
    assert [one.day for one in line.snapshots] == days[:1]


def test_lineage_gives_a_conversion_to_the_maker_of_its_base(tmp_path: Path) -> None:
    rows = properties("nvidia/Qwen3.6-NVFP4", "text-generation", date(2026, 5, 1), DAYS[0])
    rows.append(observed("hf:nvidia/Qwen3.6-NVFP4", "is:base=hf:Qwen/Qwen3.6", 1, DAYS[0]))
    rows += snapshot(DAYS[0], {"nvidia/Qwen3.6-NVFP4": 10}, "hub-api")
    by_lineage = lines(tmp_path, rows, LENSES["hub-language-lineage"])
    by_publisher = lines(tmp_path, [], without_panel(LENSES["hub-all-panel"]))
    assert [*by_lineage[0].snapshots[0].groups] == ["CN"]
    assert [*by_publisher[0].snapshots[0].groups] == ["US"]


def test_an_increase_counts_what_was_added_and_never_less_than_nothing(tmp_path: Path) -> None:
    rows = [
        observed(f"hf:{name}", "derivatives", value, day, "osir-atom-listed")
        for day, values in zip(DAYS, ((10, 50), (15, 40), (15, 41)), strict=False)
        for name, value in zip(("Qwen/a", "google/b"), values, strict=True)
    ]
    (line,) = lines(tmp_path, rows, LENSES["new-derivatives"])
    totals = [{name: group.total for name, group in one.groups.items()} for one in line.snapshots]
    assert totals == [{"CN": 5}, {"US": 1}]


def test_a_repository_is_capped_at_ten_times_its_own_median(tmp_path: Path) -> None:
    values = (100, 100, 100, 100, 5000)
    rows = [
        row
        for day, value in zip(DAYS, values, strict=True)
        for row in snapshot(day, {"Qwen/a": value})
    ]
    (line,) = lines(tmp_path, rows, without_panel(PANEL))
    last = line.snapshots[-1].groups["CN"]
    assert (last.total, last.capped) == (5000, 1000)


def test_a_spike_is_left_out_by_the_rule_against_faults(tmp_path: Path) -> None:
    """Values of KBLab/bert-base-swedish-cased-ner, November 2025 to February 2026."""
    values = (6_871, 1_542_506, 4_267_077, 2_936, 2_900)
    rows = [
        row
        for day, value in zip(DAYS, values, strict=True)
        for row in snapshot(day, {"google/spiky": value, "google/steady": 10})
    ]
    (line,) = lines(tmp_path, rows, without_panel(PANEL))
    assert [one.groups["US"].without_faults for one in line.snapshots] == [
        6_881,
        10,
        10,
        2_946,
        2_910,
    ]
    assert [one.groups["US"].total for one in line.snapshots][2] == 4_267_087


def test_labs_of_one_house_and_families_are_added_up(tmp_path: Path) -> None:
    downloads = {
        "zai-org/GLM-4.6": 5,
        "THUDM/chatglm3": 4,
        "facebook/llama-x": 2,
        "Qwen/QwQ-32B": 1,
    }
    rows = snapshot(DAYS[0], downloads)
    (by_lab,) = lines(tmp_path, rows, without_panel(PANEL), "lab")
    (by_family,) = lines(tmp_path, rows, without_panel(PANEL), "family")
    assert {n: g.total for n, g in by_lab.snapshots[0].groups.items()} == {
        "zai": 9,
        "meta": 2,
        "qwen": 1,
    }
    assert {n: g.total for n, g in by_family.snapshots[0].groups.items()} == {
        "glm": 9,
        "llama": 2,
        "qwen": 1,
    }


def test_the_map_in_force_on_the_last_day_is_used(tmp_path: Path) -> None:
    before, after = date(2026, 9, 2), date(2026, 9, 3)
    (old,) = lines(tmp_path / "a", snapshot(before, {"EleutherAI/x": 1}), without_panel(PANEL))
    (new,) = lines(tmp_path / "b", snapshot(after, {"EleutherAI/x": 1}), without_panel(PANEL))
    assert [*old.snapshots[0].groups] == ["UNKNOWN"]
    assert [*new.snapshots[0].groups] == ["US"]


def test_the_rows_behind_a_figure_add_up_to_it(tmp_path: Path) -> None:
    store = ObservationStore(tmp_path)
    store.append(snapshot(DAYS[0], {"Qwen/a": 5, "Qwen/b": 7, "google/c": 1, "mistralai/d": 1}))
    connection = store.connect()
    (line,) = lines_of_store(connection, without_panel(PANEL), "country", LATER)
    rows = rows_behind(connection, line, "country", ["CN", "US"])
    assert [(row.entity, row.value) for row in rows] == [
        *(("hf:Qwen/b", 7), ("hf:Qwen/a", 5), ("hf:google/c", 1))
    ]
    assert {row.raw_sha256 for row in rows} == {"0" * 64}


def test_a_hostile_name_is_only_a_name(tmp_path: Path) -> None:
    name = "Qwen/x');DROP-TABLE-readings;--"
    (line,) = lines(tmp_path, snapshot(DAYS[0], {name: 3, "google/y": 1}), without_panel(PANEL))
    assert line.snapshots[0].groups["CN"].top_entity == f"hf:{name}"


def test_a_publisher_that_a_capture_missed_is_carried_forward_for_a_week(tmp_path: Path) -> None:
    days = [date(2025, 1, 1) + timedelta(days=step) for step in (0, 1, 6, 12)]
    rows = [row for day in days for row in snapshot(day, {"Qwen/a": 10})]
    rows += snapshot(days[0], {"google/b": 5})
    store = ObservationStore(tmp_path)
    store.append(rows)
    connection = store.connect()
    (line,) = lines_of_store(connection, without_panel(PANEL), "country", days[2])
    assert [one.groups["US"].total for one in line.snapshots] == [5, 5, 5]
    rows_of_last = rows_behind(connection, line, "country", ["CN", "US"])
    assert [(row.entity, row.day) for row in rows_of_last] == [
        *(("hf:Qwen/a", days[2]), ("hf:google/b", days[0]))
    ]
    (later,) = lines_of_store(connection, without_panel(PANEL), "country", LATER)
    assert [*later.snapshots[-1].groups] == ["CN"]


def test_a_repository_that_its_publisher_took_down_is_not_carried(tmp_path: Path) -> None:
    rows = snapshot(DAYS[0], {"Qwen/a": 10, "Qwen/gone": 7})
    rows += snapshot(DAYS[0] + timedelta(days=1), {"Qwen/a": 10})
    (line,) = lines(tmp_path, rows, without_panel(PANEL))
    assert [one.total for one in line.snapshots] == [17, 10]
