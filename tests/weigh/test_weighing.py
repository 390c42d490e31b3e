"""The whole answer: what is in it, what is told, and that every figure comes from a row."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from tests.weigh.observed import snapshot
from wazn.errors import BadRequest
from wazn.weigh.backtest import backtest
from wazn.weigh.explaining import fact_rows, reading_rows, used_facts
from wazn.weigh.lens import load_lenses
from wazn.weigh.output import TABLE, to_object, to_table
from wazn.weigh.published import Fact, load_facts
from wazn.weigh.store import ObservationStore
from wazn.weigh.telling import blocks, heading, summary
from wazn.weigh.weighing import Question, Weighing, weigh
from wazn.weigh.words import Words

DAY = date(2025, 10, 31)
LENSES = load_lenses()


def weighed(store: ObservationStore, facts: list[Fact] | None = None, **more: object) -> Weighing:
    question = replace(Question(DAY, [*LENSES.values()]), **more)  # type: ignore[arg-type]
    return weigh(question, load_facts() if facts is None else facts, store)


def told(weighing: Weighing, language: Words) -> str:
    return "\n".join(text for block in blocks(weighing, language) for text in block.sentences)


def empty(folder: Path) -> ObservationStore:
    return ObservationStore(folder / "observations")


def test_the_article_is_answered_from_an_empty_store(tmp_path: Path) -> None:
    text = told(weighed(empty(tmp_path)), Words("en"))
    for part in (
        "Claimed: China 550.0 M, United States 475.0 M downloads. China ahead 1.16 to 1.",
        "confidence: low; what was counted: the article does not say. [o001, o002]",
        "Fits: Hugging Face, language models, all time.",
        "China: 550.0 M lies between 97.0 M (2025-03, o006) and 1.15 B (2026-03-31, o003).",
        "China took the lead in 2025-07 (o007; confidence: low)",
        "China ahead 1.09 to 1: China 86.7 M, United States 79.3 M downloads. OSIR-LMTS crawl",
        "United States ahead 2.52 to 1",
        "China 17.1, United States 15.8 percent. Economies of Open Intelligence, 2025-08",
        "United States ahead 2.13 to 1: China 149.7 M, United States 318.8 M pulls.",
        "China: share of new derivatives 63 percent.",
    ):
        assert part in text, part


def test_the_split_of_2023_is_said_to_have_no_known_source(tmp_path: Path) -> None:
    weighing = weighed(empty(tmp_path), day=date(2023, 12, 31))
    text = told(weighing, Words("en"))
    assert "China 25, United States 60 percent. United States ahead 2.40 to 1." in text
    assert "This pair has no known source." in text
    assert "no source of this split was found anywhere" in text


def test_an_answer_is_gone_with_its_row(tmp_path: Path) -> None:
    kept = [fact for fact in load_facts() if fact.id not in ("o001", "a001", "o033")]
    text = told(weighed(empty(tmp_path), kept), Words("en"))
    assert "550.0 M" not in text
    assert "15.8" not in text
    later = told(weighed(empty(tmp_path), kept, day=date(2023, 12, 31)), Words("en"))
    assert "60 percent" not in later


def test_without_any_row_it_says_so(tmp_path: Path) -> None:
    weighing = weighed(empty(tmp_path), [])
    assert weighing.is_empty
    assert "No row of the store and no published figure speaks of 2025-10-31" in told(
        weighing, Words("en")
    )


def test_a_day_after_everything_is_told_the_last_one(tmp_path: Path) -> None:
    text = told(weighed(empty(tmp_path), day=date(2027, 6, 1)), Words("en"))
    assert "The last published figures before it are of 2026-08-21." in text


def test_measured_lines_join_what_was_published(series_store: ObservationStore) -> None:
    weighing = weighed(series_store)
    text = told(weighing, Words("en"))
    assert "China ahead 1.09 to 1 on 2025-09-07" in text
    assert "0.95 to 1.37 over outlier rules" in text
    assert "China took the lead between 2025-02-14 and 2025-05-07, over all rules." in text
    assert "United States ahead 2.17 to 1 on 2025-10-31" in text
    assert "Forecast: too few independent origins (0; 20 are needed)" in text
    columns, rows = summary(weighing, Words("en"))
    assert len(columns) == 7
    assert ["measured", "2025-10-31", "United States", "2.17"] in [row[1:5] for row in rows]


def test_a_forecast_is_told_with_its_past(series_store: ObservationStore) -> None:
    weighing = weighed(series_store, day=date(2026, 8, 21), lenses=[LENSES["ollama-pulls"]])
    text = told(weighing, Words("en"))
    assert "Forecast for 2026-08-28: China over United States 0.57" in text
    assert "Back-test over 50 origins of 7 days: mean error 0.5" in text


def test_without_statsmodels_the_rest_is_told(
    series_store: ObservationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wazn.weigh.forecast.find_spec", lambda name: None)
    day, lenses = date(2026, 8, 21), [LENSES["ollama-pulls"]]
    text = told(weighed(series_store, day=day, lenses=lenses), Words("en"))
    assert "United States ahead 1.75 to 1" in text
    assert "Forecast: none, because statsmodels is not installed" in text
    with pytest.raises(BadRequest, match="a forecast needs statsmodels"):
        backtest(series_store, Question(day, lenses))


def test_the_answer_is_arabic_in_arabic(series_store: ObservationStore) -> None:
    weighing, words = weighed(series_store), Words("ar")
    text = told(weighing, words)
    assert "الصين 550.0 مليون، الولايات المتحدة 475.0 مليون تنزيل" in text
    assert "الصين مقابل الولايات المتحدة" in heading(weighing, words)
    assert "Measured" not in text
    assert "Hugging Face, language" not in text


def test_an_old_snapshot_is_called_old(tmp_path: Path) -> None:
    store = empty(tmp_path)
    store.append(snapshot(date(2025, 1, 1), {"Qwen/a": 2, "google/b": 1}))
    lens = replace(LENSES["hub-language-panel"], panel_days=None)
    assert "303 days older" in told(weighed(store, [], lenses=[lens]), Words("en"))


def test_a_line_without_both_sides_is_named(tmp_path: Path) -> None:
    store = empty(tmp_path)
    store.append(snapshot(DAY, {"Qwen/a": 2}))
    lens = replace(LENSES["hub-language-panel"], panel_days=None)
    text = told(weighed(store, [], lenses=[lens]), Words("en"))
    assert "test, osir-atom-listed: the snapshot of 2025-10-31 does not have both sides" in text


def test_a_snapshot_after_the_day_is_not_looked_at(series_store: ObservationStore) -> None:
    weighing = weighed(series_store, day=date(2025, 5, 31))
    days = [one.line.snapshots[-1].day for answer in weighing.answers for one in answer.measured]
    assert max(days) == date(2025, 5, 7)


def test_every_row_behind_a_figure_is_shown(series_store: ObservationStore) -> None:
    weighing = weighed(series_store, explain=True, lenses=[LENSES["hub-language-panel"]])
    (table,) = reading_rows(weighing, Words("en"))
    assert len(table[2]) == 417 + 382
    values = {"China": 0, "United States": 0}
    for country, _, value, *_ in table[2]:
        values[country] += int(value)
    assert values == {"China": 86_715_437, "United States": 79_266_094}
    (citations,) = fact_rows(weighing, Words("en"))
    assert [row[0] for row in citations[2]] == [fact.id for fact in used_facts(weighing)]
    assert {"o001", "o002", "o003", "o006", "o160", "o161"} <= {row[0] for row in citations[2]}


def test_programs_get_plain_integers(series_store: ObservationStore) -> None:
    answer = to_object(weighed(series_store, explain=True), "en")
    panel = next(one for one in answer["lenses"] if one["id"] == "hub-language-panel")
    standing = panel["measured"][0]["standing"]
    assert (standing["first"]["value"], type(standing["first"]["value"])) == (86_715_437, int)
    assert standing["took_lead"]["earliest"] == "2025-02-14"
    assert panel["measured"][0]["forecast"] == {"too_few": True, "num_origins": 0}
    assert len(panel["measured"][0]["rows"]) == 799
    claim = answer["claims"][0]
    assert (claim["first"]["value"], claim["leader"]) == (550_000_000, "country:CN")
    assert [fit["lens"] for fit in claim["fits"] if fit["verdict"] == "fits"] == [
        "hub-language-cumulative"
    ]


def test_the_table_for_programs_has_one_row_a_pair(series_store: ObservationStore) -> None:
    rows = [dict(zip(TABLE, row, strict=True)) for row in to_table(weighed(series_store))]
    assert {row["kind"] for row in rows} == {"claim", "measured", "computed", "published"}
    ollama = [row for row in rows if row["lens"] == "ollama-pulls" and row["kind"] == "measured"]
    assert [row["second_value"] for row in ollama] == [278_701_100]


def test_labs_and_families_are_weighed_too(series_store: ObservationStore) -> None:
    panel = [LENSES["hub-language-panel"]]
    (lab,) = weighed(series_store, by="lab", lenses=panel).answers
    (family,) = weighed(series_store, by="family", lenses=panel).answers
    assert lab.measured[0].standing is not None
    assert (lab.measured[0].standing.first, lab.measured[0].standing.second) == ("qwen", "meta")
    assert family.measured[0].standing is not None
    assert family.measured[0].standing.first == "qwen"


def test_a_line_of_publishers_has_no_families(series_store: ObservationStore) -> None:
    (answer,) = weighed(series_store, by="family", lenses=[LENSES["hub-all-panel"]]).answers
    assert answer.measured == []
