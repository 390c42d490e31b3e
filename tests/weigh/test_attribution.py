"""Whose an entity is: tables that agree with themselves, and a log of what changed."""

import csv
import re
from datetime import date

import pytest

from tests.weigh.shared_data import shared_data
from wazn.weigh.attribution import (
    REGIONS,
    create_tables,
    families,
    region_changes,
    region_of_ollama,
)
from wazn.weigh.store import new_connection


def publishers(day: date) -> dict[tuple[str, str], tuple[str, str]]:
    """(name space, publisher) → (region, lab), as in force on a day."""
    connection = new_connection()
    create_tables(connection, day)
    rows = connection.execute("FROM publishers").fetchall()
    assert len({row[:2] for row in rows}) == len(rows)
    return {row[:2]: row[2:] for row in rows}


def test_the_map_of_the_hub_is_the_one_it_was_built_from() -> None:
    names = {"china": "CN", "us": "US", "eu": "EU", "other": "OTHER", "unknown": "UNKNOWN"}
    ours = publishers(date(2026, 8, 31))
    with open(shared_data("atom_organization_regions.csv"), encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 118
    for row in rows:
        assert ours["hf", row["hf_org"].lower()][0] == names[row["region"]], row["hf_org"]


def test_every_region_is_one_that_is_known() -> None:
    assert {region for region, _ in publishers(date(2026, 11, 1)).values()} <= set(REGIONS)


def test_a_change_holds_from_its_day_on() -> None:
    changes = region_changes()
    assert [change.publisher for change in changes] == ["bigcode", "EleutherAI"]
    for change in changes:
        key = (change.namespace, change.publisher.lower())
        assert publishers(date(2026, 9, 2))[key][0] == change.before == "UNKNOWN"
        assert publishers(change.day)[key][0] == change.after == "US"


def test_modelscope_knows_the_publishers_of_the_hub_and_its_own() -> None:
    ours = publishers(date(2026, 11, 1))
    assert ours["ms", "openai"] == ours["hf", "openai"]
    assert ours["ms", "iic"] == ("CN", "qwen")
    assert ours["ms", "ai-modelscope"][0] == "UNKNOWN"


def test_old_and_new_names_of_a_lab_are_one_lab() -> None:
    ours = publishers(date(2026, 11, 1))
    for old, new in (
        ("thudm", "zai-org"),
        ("cohereforai", "coherelabs"),
        ("facebook", "meta-llama"),
    ):
        assert ours["hf", old] == ours["hf", new]


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("qwen3.8", "CN"),
        ("mistral-medium-9", "EU"),
        ("gpt-oss", "US"),
        ("command-r7b-arabic", "UNKNOWN"),
        ("nobody-knows", "UNKNOWN"),
    ],
)
def test_ollama_s_names_are_told_by_their_beginning(name: str, region: str) -> None:
    assert region_of_ollama(name) == region


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("qwen2.5-7b-instruct", "qwen"),
        ("qwq-32b", "qwen"),
        ("meta-llama-3-8b", "llama"),
        ("codegemma-7b", "gemma"),
        ("t5gemma-b-b-prefixlm", "gemma"),
        ("embeddinggemma", "gemma"),
        ("deepseek-r1-distill-qwen-32b", "deepseek"),
        ("mixtral-8x7b", "mistral"),
        ("glm-4.6", "glm"),
        ("phi4", "phi"),
        ("dolphin3", None),
    ],
)
def test_families_are_told_by_name(name: str, family: str | None) -> None:
    found = [one for one, pattern in families() if re.search(pattern, name)]
    assert found == ([family] if family else [])
