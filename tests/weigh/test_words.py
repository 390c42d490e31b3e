"""Both languages say the same things, in places of the same names."""

import string

import pytest

from wazn.weigh.leaders import Rule
from wazn.weigh.lens import load_lenses
from wazn.weigh.words import AS_IT_BEGINS, END, LEFT_TO_RIGHT, Words, change, share, times

ENGLISH, ARABIC = Words("en"), Words("ar")


def places(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_both_languages_have_the_same_sentences() -> None:
    assert ENGLISH.keys.keys() == ARABIC.keys.keys()
    for key, sentence in ENGLISH.keys.items():
        assert places(sentence) == places(ARABIC.keys[key]), key


def test_every_rule_and_unit_has_a_word() -> None:
    for words in (ENGLISH, ARABIC):
        assert all(f"rule_{rule.name.lower()}" in words.keys for rule in Rule)
        assert all(f"unit_{lens.unit}" in words.keys for lens in load_lenses().values())


@pytest.mark.parametrize(
    ("value", "unit", "english", "arabic"),
    [
        (550_000_000, "downloads", "550.0 M", "550.0 مليون"),
        (1_150_000_000, "downloads", "1.15 B", "1.15 مليار"),
        (4_120_000_000_000, "tokens", "4.12 T", "4.12 تريليون"),
        (17.1, "percent", "17.1", "17.1"),
        (999, "downloads", "999", "999"),
        (12_345, "pulls", "12.3 K", "12.3 ألف"),
        (1000, "percent", "1,000", "1,000"),
    ],
)
def test_amounts(value: float, unit: str, english: str, arabic: str) -> None:
    assert ENGLISH.amount(value, unit) == english
    assert ARABIC.amount(value, unit) == arabic


def test_ratios_shares_and_changes() -> None:
    assert (times(2.168), times(0.075), times(0.0012)) == ("2.17", "0.075", "0.0012")
    assert (share(0.0055), share(0.84)) == ("0.55%", "84%")
    assert (change(1.125), change(0.9)) == ("+12.5%", "-10.0%")


def test_dates_and_latin_text_are_isolated_among_arabic_letters() -> None:
    told = ARABIC.say("heading", first="الصين", second="hf:Qwen/a", day="2025-10-31")
    assert f"{LEFT_TO_RIGHT}2025-10-31{END}" in told
    assert f"{AS_IT_BEGINS}hf:Qwen/a{END}" in told
    assert f"{AS_IT_BEGINS}الصين" not in told
    assert LEFT_TO_RIGHT not in ENGLISH.say("heading", first="a", second="b", day="2025-10-31")


def test_a_name_without_a_word_stays_as_it_is() -> None:
    assert ENGLISH.group("country:CN") == "China"
    assert ARABIC.group("CN") == "الصين"
    assert ENGLISH.group("hf:Qwen/Qwen3-8B") == "Qwen/Qwen3-8B"
    assert ENGLISH.metric("share_of_startups") == "share of startups"
