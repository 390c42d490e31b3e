"""What price catalogues have in common: one document, many entries, each of them rows.

An answer gives `PriceRow`s for `wazn cost` and, of the price in force on the day, observations.
What has no price of input and of output per token (speech, pictures) or a price of zero (free
trials, local runners) is left out and counted. Knows no catalogue by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal

import msgspec

from wazn.errors import BadFile, BadObservation
from wazn.weigh.faults import FaultKind
from wazn.weigh.history import Counted
from wazn.weigh.observation import Observation
from wazn.weigh.prices import PriceRow, dollars
from wazn.weigh.sources import Answer, Page, Request
from wazn.weigh.sources.answers import BadAnswer, Teller, entry_fault
from wazn.weigh.sources.client import Service

DEFINITION = "list-price"
MILLION = 10**6

NO_PRICE = "without a price of input and of output per token"
_FREE = "at a price of zero"

Number = float | int | str | None


class LeftOut(Exception):
    """An entry that is no price of text; the message says why."""


class Catalogue(ABC):
    """What the three have in common: one document, many entries, each of them rows."""

    name = ""
    catalogue = ""
    source_url = ""
    dates_prices = False
    complete_for: frozenset[str] = frozenset()

    def __init__(self, service: Service, url: str) -> None:
        self.service = service
        self._url = url

    @property
    def counted(self) -> Sequence[Counted]:
        return (Counted(self.catalogue, DEFINITION, "input_price"),)

    def first(self) -> list[Request]:
        return [Request(self._url, f"the prices of {self.catalogue}")]

    def read(self, answer: Answer) -> Page:
        page = Page()
        tell = Teller(answer, self.catalogue, DEFINITION)
        for number, (label, entry) in enumerate(self.entries(answer.response.body), 1):
            try:
                rows = list(self.rows_of(label, entry, answer.as_of))
                if all(row.input == row.output == 0 for row in rows):
                    raise LeftOut(_FREE)
                page.observations.extend(list(_tell(tell, rows, answer.as_of)))
                page.price_rows.extend(rows)
            except LeftOut as reason:
                page.left_out[str(reason)] += 1
            except (msgspec.DecodeError, BadFile, BadObservation) as error:
                page.faults.append(entry_fault(answer, number, f"{label}: {error}"))
        if not page.price_rows:
            raise BadAnswer(FaultKind.WRONG_LAYOUT, "no entry is a price of text")
        return page

    @abstractmethod
    def entries(self, body: bytes) -> Iterator[tuple[str, msgspec.Raw]]:
        """A name for messages, and the entry."""

    @abstractmethod
    def rows_of(self, label: str, entry: msgspec.Raw, as_of: date) -> Iterator[PriceRow]:
        """The rows of an entry; raises LeftOut, BadFile or DecodeError."""

    def row(self, named: tuple[str, str], prices: Sequence[Decimal | None], day: date) -> PriceRow:
        """A row of input, output and cached input, in force since nobody knows when."""
        input_price, output_price, cached_input = prices
        if input_price is None or output_price is None:
            raise LeftOut(NO_PRICE)
        provider, model = named
        return PriceRow(
            provider,
            model,
            input_price,
            output_price,
            cached_input,
            valid_from=None,
            hours="",
            captured=day,
            catalogue=f"{self.catalogue} {day}",
            source=self.source_url,
        )


def _tell(tell: Teller, rows: Sequence[PriceRow], day: date) -> Iterator[Observation]:
    """Of the rows for all hours, the one in force on the day."""
    begun = [row for row in rows if not row.hours and (row.valid_from or date.min) <= day]
    if not begun:
        return
    row = max(begun, key=lambda one: one.valid_from or date.min)
    entity = f"price:{row.name}"
    yield tell(entity, "input_price", float(row.input))
    yield tell(entity, "output_price", float(row.output))
    if row.cached_input is not None:
        yield tell(entity, "cached_input_price", float(row.cached_input))


def per_million(value: Number, where: str) -> Decimal | None:
    """A price per token as a price per million of them."""
    if value is None or value == "":
        return None
    return dollars(str(dollars(str(value), where) * MILLION), where).normalize() + 0
