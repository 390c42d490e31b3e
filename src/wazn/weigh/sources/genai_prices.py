"""The catalogue of genai-prices: dated prices, some limited to hours of the day, some in tiers.

Shape (data.json, version 2): providers with models, whose `prices` are rates per million tokens or
a list of rates with constraints `start_date`, or `start_time` and `end_time`. Of a tiered rate the
first tier counts. Rates limited to hours belong to the newest price of their model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal

import msgspec

from wazn.errors import BadFile
from wazn.settings import Settings
from wazn.weigh.prices import PriceRow, dollars
from wazn.weigh.sources.answers import decode
from wazn.weigh.sources.catalogue import Catalogue
from wazn.weigh.sources.client import Service

_TIME = re.compile(r"(\d\d:\d\d)(?::00)?(?:\.0+)?(?:Z|\+00:00)?")


class _Tiered(msgspec.Struct):
    base: float | int


Rate = float | int | _Tiered | None


class _Rates(msgspec.Struct):
    input_mtok: Rate = None
    output_mtok: Rate = None
    cache_read_mtok: Rate = None


class _Constraint(msgspec.Struct):
    start_date: date | None = None
    start_time: str = ""
    end_time: str = ""


class _Conditional(msgspec.Struct):
    prices: _Rates
    constraint: _Constraint | None = None


class _Model(msgspec.Struct):
    id: str
    prices: _Rates | list[_Conditional]


class _Provider(msgspec.Struct):
    id: str
    models: list[msgspec.Raw]


class GenaiPrices(Catalogue):
    """genai-prices, or a mirror of it."""

    name = "genai-prices"
    catalogue = "genai-prices"
    source_url = "https://github.com/pydantic/genai-prices"
    dates_prices = True

    def __init__(self, settings: Settings) -> None:
        address = settings.genai_prices_address
        super().__init__(Service("genai-prices", address, "WAZN_GENAI_PRICES_ADDRESS"), address)

    def entries(self, body: bytes) -> Iterator[tuple[str, msgspec.Raw]]:
        for provider in decode(body, list[_Provider]):
            for model in provider.models:
                yield provider.id, model

    def rows_of(self, label: str, entry: msgspec.Raw, as_of: date) -> Iterator[PriceRow]:
        model = msgspec.json.decode(entry, type=_Model)
        given = model.prices if isinstance(model.prices, list) else [_Conditional(model.prices)]
        starts = [one.constraint.start_date for one in given if one.constraint]
        newest = max((day for day in starts if day is not None and day <= as_of), default=None)
        for one in given:
            rates = (one.prices.input_mtok, one.prices.output_mtok, one.prices.cache_read_mtok)
            prices = [_first_tier(rate, model.id) for rate in rates]
            row = self.row((label, model.id), prices, as_of)
            constraint = one.constraint or _Constraint()
            hours = _hours(constraint, model.id)
            yield replace(row, hours=hours, valid_from=newest if hours else constraint.start_date)


def _first_tier(rate: Rate, where: str) -> Decimal | None:
    value = rate.base if isinstance(rate, _Tiered) else rate
    return None if value is None else dollars(str(value), where)


def _hours(constraint: _Constraint, where: str) -> str:
    """`01:00:00Z` and `04:00:00Z` → `01:00-04:00 UTC`; empty for all hours."""
    if not constraint.start_time and not constraint.end_time:
        return ""
    spans = [_TIME.fullmatch(text) for text in (constraint.start_time, constraint.end_time)]
    if spans[0] is None or spans[1] is None:
        raise BadFile(f"{where} has hours that are not in UTC: {constraint}")
    return f"{spans[0][1]}-{spans[1][1]} UTC"
