"""The page is complete in itself, well-formed, and safe against what others wrote."""

import re
from dataclasses import replace
from datetime import date, timedelta
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.weigh.observed import CAPTURED, snapshot
from wazn.weigh.lens import Language, load_lenses
from wazn.weigh.published import load_facts
from wazn.weigh.report.page import Report, page
from wazn.weigh.report.revisions import revisions
from wazn.weigh.store import ObservationStore
from wazn.weigh.weighing import Question, weigh
from wazn.weigh.words import Words

DAY = date(2025, 10, 31)


def made(store: ObservationStore, language: Language = "en", note: str | None = None) -> str:
    facts = load_facts()
    if note is not None:
        facts = [replace(fact, note=note, source=note) for fact in facts]
    weighing = weigh(Question(DAY, [*load_lenses().values()]), facts, store)
    report = Report(weighing, revisions(store), len(facts), "0.0.0", date(2026, 11, 26))
    return page(report, Words(language))


class Tags(HTMLParser):
    """Checks that what opens is closed, and collects addresses that a browser would load."""

    VOID = ("meta", "br", "line", "circle")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "srcset", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", ["en", "ar"])
def test_the_page_is_complete_in_itself(series_store: ObservationStore, language: Language) -> None:
    text = made(series_store, language)
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.loaded == []
    assert not {"script", "link", "img", "iframe", "object"} & set(tags.seen)
    assert tags.seen.count("svg") == 8  # ratio and totals of four measured lines
    assert not re.search(r"@import|url\(", text)
    assert "default-src 'none'" in text


def test_the_page_reads_in_the_direction_of_its_language(series_store: ObservationStore) -> None:
    assert '<html lang="ar" dir="rtl">' in made(series_store, "ar")
    assert '<html lang="en" dir="ltr">' in made(series_store, "en")


def test_the_page_has_claims_definitions_citations_and_the_log(
    series_store: ObservationStore,
) -> None:
    text = made(series_store)
    for part in (
        *("What was claimed", "China 550.0 M, United States 475.0 M downloads", "Universe"),
        *("https://arxiv.org/abs/2512.03073", "Revision log", "hf:EleutherAI", "2026-09-03"),
        *("No stored observation was ever restated.", "Made on 2026-11-26 by wazn 0.0.0"),
    ):
        assert part in text, part


def test_every_definition_is_on_the_page_even_one_without_a_row(tmp_path: Path) -> None:
    text = made(ObservationStore(tmp_path / "none"), "ar")
    for lens in load_lenses().values():
        assert escape(lens.wording["ar"].universe) in text


def test_a_restated_observation_is_in_the_log(tmp_path: Path) -> None:
    store = ObservationStore(tmp_path)
    (old,) = snapshot(DAY, {"Qwen/a": 580_530})
    store.append([old])
    store.append([replace(old, value=210, captured_at=CAPTURED + timedelta(days=1))])
    text = made(store)
    assert "Restated observations: 1" in text
    assert "580,530" in text
    assert "hf:Qwen/a" in text


def test_without_observations_the_published_series_are_drawn(tmp_path: Path) -> None:
    text = made(ObservationStore(tmp_path / "none"))
    assert text.count("<svg ") == 3  # the two panels and Ollama have several published dates
    assert "The store has nothing for this lens yet" in text


def test_texts_of_others_are_only_texts(tmp_path: Path) -> None:
    text = made(
        ObservationStore(tmp_path / "none"), note="<script>alert(1)</script>\"'><img src=x>"
    )
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text
