"""The published figures of the package, and how a file of them is checked."""

import csv
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from tests.weigh.shared_data import shared_data
from wazn.errors import BadFile
from wazn.weigh.lens import load_lenses
from wazn.weigh.published import COLUMNS, Period, facts_path, load_facts

NOT_KEPT = {"o023": "it has no date: its source does not say which month"}
"""Published rows that are not facts of the package, and why."""


def test_every_published_row_is_a_fact_with_its_value_source_and_confidence() -> None:
    facts = {fact.id: fact for fact in load_facts()}
    with open(shared_data("observations.csv"), encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["obs_id"] not in NOT_KEPT]
    assert len(rows) == 175
    for row in rows:
        fact = facts[row["obs_id"]]
        assert fact.as_of.text == row["as_of"]
        value = fact.value.text if isinstance(fact.value, Period) else f"{fact.value:.10g}"
        assert value == (row["value"] if fact.unit == "date" else f"{float(row['value']):.10g}")
        assert fact.citation_url == row["citation_url"]
        assert (fact.seen_at or fact.citation_url) == row["seen_at"]
        assert (fact.source, fact.confidence) == (row["source"], row["confidence"])


def test_facts_name_only_lenses_that_exist() -> None:
    assert {fact.lens for fact in load_facts()} - {""} <= set(load_lenses())


def test_pairs_of_one_definition_have_one_unit() -> None:
    units: dict[tuple[str, str], set[str]] = {}
    for fact in load_facts():
        units.setdefault((fact.lens, fact.metric), set()).add(fact.unit)
    assert {key: found for key, found in units.items() if key[0] and len(found) > 1} == {}


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2025", date(2025, 1, 1), date(2025, 12, 31)),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29)),
        ("2025-10-31", date(2025, 10, 31), date(2025, 10, 31)),
    ],
)
def test_a_printed_date_is_a_span_of_days(text: str, first: date, last: date) -> None:
    assert Period.parse(text) == Period(text, first, last)


@pytest.mark.parametrize("text", ["", "25", "2025-13", "2025-02-30", "2025-1", "autumn 2025"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Period.parse(text)


Change = Callable[[dict[str, str]], object]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda row: row.update(as_of="October"), "'October' is not a date"),
        (lambda row: row.update(value="many"), "value 'many' is not a plain number"),
        (lambda row: row.update(value="-1"), "value '-1' is not a plain number"),
        (lambda row: row.update(value="nan"), "value 'nan' is not a plain number"),
        (lambda row: row.update(confidence="certain"), "confidence 'certain' is not one of"),
        (lambda row: row.update(kind="rumour"), "kind 'rumour' is not one of"),
        (lambda row: row.update(citation_url="http://x"), "is not an https address"),
        (lambda row: row.update(source=""), "source is empty"),
    ],
)
def test_a_row_that_breaks_its_rules_is_named(
    tmp_path: Path, change: Change, complaint: str
) -> None:
    rows = list(csv.DictReader(facts_path().read_text(encoding="utf-8").splitlines()))[:2]
    change(rows[1])
    with pytest.raises(BadFile, match=f"fact o002 cannot be used: .*{re.escape(complaint)}"):
        load_facts(write(tmp_path, rows))


def test_two_rows_of_one_id_are_refused(tmp_path: Path) -> None:
    rows = list(csv.DictReader(facts_path().read_text(encoding="utf-8").splitlines()))[:1] * 2
    with pytest.raises(BadFile, match="two facts o001"):
        load_facts(write(tmp_path, rows))


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "facts.csv"
    path.write_bytes(content)
    with pytest.raises(BadFile):
        load_facts(path)


def test_a_row_of_another_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_text(",".join(COLUMNS) + "\no1,2025\n")
    with pytest.raises(BadFile, match="it does not have 15 columns"):
        load_facts(path)


def write(folder: Path, rows: list[dict[str, str]]) -> Path:
    """A file of facts."""
    path = folder / "facts.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path
