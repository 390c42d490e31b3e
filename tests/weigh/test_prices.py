"""Prices: which rows are in force on a day, and what is said of those that are old or disagree."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from wazn.errors import BadFile, BadRequest
from wazn.weigh.prices import COLUMNS, Mix, PriceRow, bundled_rows, quote, read_rows, write_rows

ROWS = bundled_rows()
OUTPUT_ONLY = Mix(Decimal(0), Decimal(0))
INPUT_ONLY = Mix(Decimal(1), Decimal(0))

A_ROW = PriceRow(
    provider="lab",
    model="small",
    input=Decimal("1"),
    output=Decimal("4"),
    cached_input=None,
    valid_from=date(2026, 1, 1),
    hours="",
    captured=date(2026, 11, 1),
    catalogue="one 1.0",
    source="https://example.org",
)


def _csv(line: str) -> list[str]:
    return [",".join(COLUMNS), line]


def test_every_bundled_row_names_its_catalogue_source_and_day() -> None:
    assert len(ROWS) > 400
    for row in ROWS:
        assert row.source.startswith("https://")
        assert row.catalogue_name in ("genai-prices", "litellm", "models.dev")
        assert row.captured <= date(2026, 11, 17)


@pytest.mark.parametrize(
    ("name", "as_of", "input_price", "output_price"),
    [
        ("o3", date(2025, 6, 9), 10, 40),
        ("o3", date(2025, 6, 10), 2, 8),
        ("gpt-5.6-sol", date(2026, 8, 20), 5, 30),
        ("gpt-5.6-sol", date(2026, 9, 25), 4, 20),
        ("gpt-5.6-luna", date(2026, 11, 20), 0.2, 1.2),
    ],
)
def test_a_price_is_the_one_in_force_that_day(
    name: str, as_of: date, input_price: float, output_price: float
) -> None:
    found = quote(ROWS, name, as_of)
    assert found.price(INPUT_ONLY).middle == input_price
    assert found.price(OUTPUT_ONLY).middle == output_price


def test_catalogues_that_disagree_widen_the_range_and_are_named() -> None:
    found = quote(ROWS, "deepseek/deepseek-v4-pro", date(2026, 11, 20))
    price = found.price(INPUT_ONLY)
    assert (price.low, price.high) == (0.66, 1.32)
    assert any("01:00-04:00 UTC" in remark for remark in found.remarks)
    assert any("models.dev" in remark and "left out" in remark for remark in found.remarks)
    assert any("disagree about input" in remark for remark in found.remarks)


def test_an_old_price_is_used_for_want_of_a_newer_one_and_flagged() -> None:
    rows = [replace(A_ROW, captured=date(2026, 8, 1))]
    found = quote(rows, "small", date(2026, 11, 1))
    assert found.chosen == tuple(rows)
    assert "92 days before; it is used for want of a newer one" in found.remarks[0]


def test_prices_within_a_tenth_of_each_other_agree() -> None:
    near = replace(A_ROW, catalogue="two 1.0", input=Decimal("1.10"))
    far = replace(A_ROW, catalogue="two 1.0", input=Decimal("1.11"))
    assert not quote([A_ROW, near], "small", date(2026, 11, 1)).remarks
    (remark,) = quote([A_ROW, far], "small", date(2026, 11, 1)).remarks
    assert remark.startswith("the catalogues disagree about input: at most 1 by one")


def test_a_price_seen_later_replaces_one_that_was_dated_before() -> None:
    """A catalogue without dates, captured for the first time after the bundled rows were made."""
    seen = replace(A_ROW, valid_from=None, captured=date(2026, 11, 20), input=Decimal("3"))
    assert quote([A_ROW, seen], "small", date(2026, 11, 20)).price(INPUT_ONLY).middle == 3
    assert quote([A_ROW, seen], "small", date(2026, 10, 1)).price(INPUT_ONLY).middle == 1


def test_a_price_of_the_future_is_not_yet_in_force() -> None:
    later = replace(A_ROW, valid_from=date(2027, 1, 1), input=Decimal("9"))
    assert quote([A_ROW, later], "small", date(2026, 12, 31)).price(INPUT_ONLY).high == 1
    assert quote([A_ROW, later], "small", date(2027, 1, 1)).price(INPUT_ONLY).middle == 9


def test_a_mix_counts_cached_input_at_its_own_price() -> None:
    row = replace(A_ROW, cached_input=Decimal("0.1"))
    mix = Mix(Decimal("0.75"), Decimal("0.5"))
    assert row.blended(mix) == Decimal("0.75") * Decimal("0.55") + Decimal("0.25") * 4
    assert A_ROW.blended(mix) == Decimal("0.75") + 1  # no cached price stated: the full one


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("claude-opus-4-6", "several providers; name one of anthropic/claude-opus-4-6, google/"),
        ("gpt-6-mni", "no catalogue has a price of gpt-6-mni"),
        ("groq/openai/gpt-oss-120b", "no price before 20"),
    ],
)
def test_a_name_that_means_no_price_is_refused(name: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        quote(ROWS, name, date(2024, 1, 1))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,b,NaN,1,,,,2026-01-01,c,d", "line 2: input is 'NaN'"),
        ("a,b,-1,1,,,,2026-01-01,c,d", "line 2: input is '-1'"),
        ("a,b,1,1e99,,,,2026-01-01,c,d", "line 2: output is '1e99'"),
        ("a,b,1,1,,,,yesterday,c,d", "'yesterday' is not a date"),
        ("a,b,1,1", "does not have 10 fields"),
        ("a,b,1,1,,,,2026-01-01,c,d,e", "does not have 10 fields"),
    ],
)
def test_a_damaged_row_is_refused_with_its_line(line: str, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        list(read_rows(_csv(line), "prices"))


def test_a_file_with_other_columns_is_refused() -> None:
    with pytest.raises(BadFile, match="does not begin with the columns provider, model"):
        list(read_rows(["a,b"], "prices"))


def test_written_rows_read_back_the_same(tmp_path: Path) -> None:
    write_rows(ROWS, tmp_path / "rows.csv")
    with open(tmp_path / "rows.csv", encoding="utf-8", newline="") as lines:
        assert tuple(read_rows(lines, "rows")) == ROWS


@pytest.mark.parametrize("make", [lambda: Mix(Decimal("1.5"), Decimal(0))])
def test_a_share_beyond_one_is_refused(make: Callable[[], Mix]) -> None:
    with pytest.raises(BadRequest, match=r"the input share is 1\.5"):
        make()
