"""Claims are held against rows, and without the rows there is no verdict."""

from dataclasses import replace
from datetime import date

from wazn.weigh.claims import Verdict, claims, pairs
from wazn.weigh.published import Fact, Period, load_facts

PAIR = ("country:CN", "country:US")
DAY = date(2025, 10, 31)
LENS = "hub-language-cumulative"


def verdict(facts: list[Fact]) -> Verdict:
    (claim,) = claims(facts, PAIR, DAY)
    return next(fit.verdict for fit in claim.fits if fit.lens == LENS)


def without(*names: str) -> list[Fact]:
    return [fact for fact in load_facts() if fact.id not in names]


def restated(name: str, value: float | Period) -> list[Fact]:
    return [replace(fact, value=value) if fact.id == name else fact for fact in load_facts()]


def test_the_article_fits_one_definition_and_the_rows_are_named() -> None:
    (claim,) = claims(load_facts(), PAIR, DAY)
    assert (claim.pair.first.number, claim.pair.second.number) == (550e6, 475e6)
    (fit,) = claim.fitting
    assert fit.lens == LENS
    assert [row.id for row in fit.rows] == ["o006", "o003", "o004", "o007"]
    assert claim.pair.first.confidence == "low"


def test_the_split_of_2023_has_no_known_source() -> None:
    (claim,) = claims(load_facts(), PAIR, date(2023, 12, 31))
    assert (claim.pair.first.number, claim.pair.second.number) == (25, 60)
    assert claim.pair.first.confidence == claim.pair.second.confidence == "none"
    assert claim.fitting == []


def test_without_its_row_a_claim_is_gone() -> None:
    assert claims(without("o001"), PAIR, DAY) == []
    assert claims(without("a001"), PAIR, date(2023, 12, 31)) == []


def test_without_the_rows_around_it_nothing_can_be_compared() -> None:
    assert verdict(without("o003")) == "no rows"
    assert verdict(without("o006")) == "no rows"
    assert verdict(without("o007")) == "fits"


def test_a_figure_outside_the_rows_is_contradicted() -> None:
    assert verdict(restated("o001", 1_200e6)) == "contradicted"
    assert verdict(restated("o001", 90e6)) == "contradicted"
    assert verdict(restated("o002", 800e6)) == "contradicted"


def test_a_leader_that_the_crossover_excludes_is_contradicted() -> None:
    assert verdict(restated("o007", Period.parse("2026-01"))) == "contradicted"


def test_a_claim_is_told_only_around_its_date() -> None:
    assert claims(load_facts(), PAIR, date(2025, 12, 15)) == []
    assert len(claims(load_facts(), PAIR, date(2025, 11, 30))) == 1


def test_figures_of_different_scopes_are_never_paired() -> None:
    tokens = [f for f in load_facts() if f.metric == "tokens_week" and f.as_of.text == "2026-06"]
    found = pairs(tokens, *PAIR)
    assert [(one.first.id, one.second.id) for one in found] == [("o097", "o098"), ("o100", "o099")]
