"""Lenses are data: every one loads, and one that is misspelt is refused."""

import re
from importlib.resources import files

import pytest

from wazn.errors import BadFile, BadObservation, BadRequest
from wazn.weigh.lens import choose, load_lenses, parse_lens

GOOD = (files("wazn.weigh") / "lenses" / "hub-language-panel.toml").read_text(encoding="utf-8")


def test_the_lenses_of_the_package_load_in_order() -> None:
    lenses = load_lenses()
    assert [*lenses][:2] == ["hub-language-cumulative", "hub-language-panel"]
    assert len({lens.order for lens in lenses.values()}) == len(lenses) >= 7
    assert all(lens.wording["ar"].universe for lens in lenses.values())


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('counter = "window"', 'counter = "widow"', "counter must be one of"),
        ('country_rule = "publisher"', 'country_rule = "passport"', "country_rule must be"),
        ("panel_days = 240", 'panel_days = "240"', "panel_days must be a number above zero"),
        ("panel_days = 240", "panel_days = 0", "panel_days must be a number above zero"),
        ("panel_days = 240", "panel_weeks = 34", "panel_weeks"),
        ("listed_publishers = true", "listed_publisher = true", "listed_publisher"),
        ("listed_publishers = true", "listed_publishers = 1", "listed_publishers must be a bool"),
        ("pipelines = [", "pipelines = [1, ", "pipelines must be strings"),
        ("exclude = '(?i)(", "exclude = '(?i)((", "unterminated|missing"),
        ("created_after = 2022-11-30", "created_after = 2022", "created_after must be a date"),
        ("[ar]", "[fa]", "ar"),
        ('title = "', 'tidle = "', "tidle"),
        ("order = 2", "order = ", "Invalid value"),
    ],
)
def test_a_lens_that_is_misspelt_is_refused(before: str, after: str, complaint: str) -> None:
    assert before in GOOD
    with pytest.raises(BadFile, match=f"lens bent cannot be used: .*({complaint})"):
        parse_lens("bent", GOOD.replace(before, after, 1))


def test_a_lens_of_an_unknown_metric_is_refused() -> None:
    with pytest.raises(BadObservation, match="there is no metric 'stars'"):
        parse_lens("bent", GOOD.replace('metric = "downloads_30d"', 'metric = "stars"'))


def test_lenses_are_chosen_by_id() -> None:
    lenses = load_lenses()
    assert choose(lenses, []) == [*lenses.values()]
    assert [lens.id for lens in choose(lenses, ["ollama-pulls"])] == ["ollama-pulls"]
    with pytest.raises(BadRequest, match=re.escape("no lens 'olama'; known are hub-language")):
        choose(lenses, ["olama"])
