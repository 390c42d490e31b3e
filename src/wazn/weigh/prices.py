"""List prices of language models behind an API: dated rows, and what they say together on a day.

A row is what one catalogue said of one model, in US dollars per million tokens. Catalogues are
late and disagree, so a price is never one number here: ``quote`` collects the rows in force on a
day from all of them, gives the newest as the price and the rest as its range, and says which are
old and how far they differ. It knows no hardware, and refuses to pick between providers.

``prices.csv`` beside this file holds rows of litellm, genai-prices and models.dev (all three MIT
licensed), as ``bench/price_rows.py`` made it.
"""

from __future__ import annotations

import csv
import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path

from wazn.errors import BadFile, BadRequest
from wazn.weigh.interval import Interval

STALE_DAYS = 60
"""A price last seen longer ago is old: litellm took 106 days to notice DeepSeek's of 2025-09-29."""

DISAGREEMENT = Decimal("0.10")
"""Catalogues that differ by more than this share of the lower figure disagree."""

COLUMNS = (
    *("provider", "model", "input", "output", "cached_input"),
    *("valid_from", "hours", "captured", "catalogue", "source"),
)
_MAX_PRICE = Decimal(1_000_000)  # dollars per million tokens: a dollar a token


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One price as one catalogue had it, in US dollars per million tokens.

    ``cached_input`` is the price of input that the provider's cache already held; None: not
    stated. ``valid_from`` is the day the catalogue gives as the first, or else the first day the
    price was seen there; None: as long as the catalogue has known the model. ``hours`` are those
    of the day that it is limited to, as ``01:00-04:00 UTC``; empty: all. ``captured`` is the last
    day it was seen.
    """

    provider: str
    model: str
    input: Decimal
    output: Decimal
    cached_input: Decimal | None
    valid_from: date | None
    hours: str
    captured: date
    catalogue: str
    source: str

    @property
    def name(self) -> str:
        """How the row is asked for: ``provider/model``."""
        return f"{self.provider}/{self.model}"

    @property
    def catalogue_name(self) -> str:
        """The catalogue without its version."""
        return self.catalogue.partition(" ")[0]

    def blended(self, mix: Mix) -> Decimal:
        """Dollars per million tokens of this mix of input and output."""
        cached = self.input if self.cached_input is None else self.cached_input
        fresh = self.input * (1 - mix.cached_share) + cached * mix.cached_share
        return fresh * mix.input_share + self.output * (1 - mix.input_share)


@dataclass(frozen=True, slots=True)
class Mix:
    """What tokens are: the share that is input, and of the input the share found in a cache."""

    input_share: Decimal
    cached_share: Decimal

    def __post_init__(self) -> None:
        for name, share in (("input", self.input_share), ("cached", self.cached_share)):
            if not 0 <= share <= 1:
                raise BadRequest(f"the {name} share is {share}; give a number from 0 to 1.")


@dataclass(frozen=True, slots=True)
class Quote:
    """What the catalogues together say of one model on one day.

    ``rows`` in force, the newest first; those in ``chosen`` make the price and its range.
    ``remarks`` are plain sentences about age and disagreement.
    """

    name: str
    as_of: date
    rows: tuple[PriceRow, ...]
    chosen: tuple[PriceRow, ...]
    remarks: tuple[str, ...]

    def price(self, mix: Mix) -> Interval:
        """Dollars per million tokens of this mix; the middle is the newest row's."""
        blended = [float(row.blended(mix)) for row in self.chosen]
        return Interval(min(blended), blended[0], max(blended))


def bundled_rows() -> tuple[PriceRow, ...]:
    """The rows that come with wazn."""
    text = (files("wazn.weigh") / "prices.csv").read_text(encoding="utf-8")
    return tuple(read_rows(text.splitlines(), "prices.csv"))


def read_rows(lines: Iterable[str], where: str) -> Iterator[PriceRow]:
    """Rows of a CSV file with the columns ``COLUMNS``; raises BadFile naming line and column."""
    reader = csv.DictReader(lines)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise BadFile(f"{where} does not begin with the columns {', '.join(COLUMNS)}.")
    for row in reader:
        place = f"{where} line {reader.line_num}"
        if None in row or None in row.values():
            raise BadFile(f"{place} does not have {len(COLUMNS)} fields.")
        yield PriceRow(
            provider=row["provider"],
            model=row["model"],
            input=dollars(row["input"], f"{place}: input"),
            output=dollars(row["output"], f"{place}: output"),
            cached_input=(
                dollars(row["cached_input"], f"{place}: cached_input")
                if row["cached_input"]
                else None
            ),
            valid_from=day(row["valid_from"], place) if row["valid_from"] else None,
            hours=row["hours"],
            captured=day(row["captured"], place),
            catalogue=row["catalogue"],
            source=row["source"],
        )


def write_rows(rows: Iterable[PriceRow], path: Path) -> None:
    """Write what ``read_rows`` reads."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            values = (getattr(row, column) for column in COLUMNS)
            writer.writerow(["" if value is None else str(value) for value in values])


def dollars(text: str, where: str) -> Decimal:
    """A price of a catalogue; raises BadFile for what cannot be one."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise BadFile(f"{where} is {text[:40]!r}, not a price in dollars.") from None
    if not value.is_finite() or not 0 <= value <= _MAX_PRICE:
        raise BadFile(f"{where} is {text[:40]!r}, not a price from 0 to {_MAX_PRICE} dollars.")
    return value


def day(text: str, where: str) -> date:
    """A date of a catalogue; raises BadFile for what is none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadFile(f"{where}: {text[:40]!r} is not a date such as 2026-08-21.") from None


def quote(rows: Sequence[PriceRow], name: str, as_of: date) -> Quote:
    """What the rows say of ``name`` (a model, or ``provider/model``) on that day.

    Raises BadRequest for a name that no row has, that several providers sell, or whose price began
    later.
    """
    full = _resolve(rows, name)
    mine = [row for row in rows if row.name.lower() == full.lower()]
    in_force = _in_force(mine, as_of)
    if not in_force:
        first = min(row.valid_from for row in mine if row.valid_from is not None)
        raise BadRequest(f"{full} has no price before {first}, and {as_of} was asked for.")
    fresh = [row for row in in_force if not _is_stale(row, as_of)]
    chosen = tuple(fresh or in_force)
    return Quote(full, as_of, tuple(in_force), chosen, tuple(_remarks(in_force, chosen, as_of)))


def _resolve(rows: Sequence[PriceRow], name: str) -> str:
    """The one ``provider/model`` meant."""
    wanted = name.lower()
    exact = {row.name for row in rows if row.name.lower() == wanted}
    found = exact or {row.name for row in rows if row.model.lower() == wanted}
    if len(found) > 1:
        raise BadRequest(
            f"{name} is sold by several providers; name one of {', '.join(sorted(found))}."
        )
    if found:
        return found.pop()
    known = {row.model.lower() for row in rows} | {row.name.lower() for row in rows}
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f"known are {', '.join(near)}" if near else "known are names such as gpt-5"
    raise BadRequest(f"no catalogue has a price of {name}; {hint}.")


def _in_force(rows: Sequence[PriceRow], as_of: date) -> list[PriceRow]:
    """Of every catalogue and hours the row that held last; the newest catalogue first.

    That is the one seen last up to the day, and of several the one that began last.
    """

    def rank(row: PriceRow) -> tuple[date, date]:
        return _known_until(row, as_of), row.valid_from or date.min

    latest: dict[tuple[str, str], PriceRow] = {}
    for row in rows:
        if (row.valid_from or date.min) <= as_of:
            key = (row.catalogue_name, row.hours)
            if key not in latest or rank(row) > rank(latest[key]):
                latest[key] = row
    return sorted(
        latest.values(),
        key=lambda row: (-_known_until(row, as_of).toordinal(), row.hours, row.catalogue),
    )


def _known_until(row: PriceRow, as_of: date) -> date:
    """The last day up to ``as_of`` on which the row was known to hold."""
    return min(row.captured, as_of)


def _is_stale(row: PriceRow, as_of: date) -> bool:
    return (as_of - row.captured).days > STALE_DAYS


def _remarks(rows: Sequence[PriceRow], chosen: Sequence[PriceRow], as_of: date) -> Iterator[str]:
    for row in rows:
        if _is_stale(row, as_of):
            use = "it is used for want of a newer one" if row in chosen else "it is left out"
            yield (
                f"{row.catalogue} last had the price {row.input} in, {row.output} out on "
                f"{row.captured}, {(as_of - row.captured).days} days before; {use}."
            )
    by_catalogue: dict[str, list[PriceRow]] = defaultdict(list)
    for row in rows:
        by_catalogue[row.catalogue_name].append(row)
    for what in ("input", "output"):
        figures = {
            name: (min(getattr(r, what) for r in held), max(getattr(r, what) for r in held))
            for name, held in by_catalogue.items()
        }
        lowest = min(figures, key=lambda name: figures[name][1])
        highest = max(figures, key=lambda name: figures[name][0])
        low, high = figures[lowest][1], figures[highest][0]
        if high > low * (1 + DISAGREEMENT):
            yield (
                f"the catalogues disagree about {what}: at most {low} by {lowest}, at least "
                f"{high} by {highest}."
            )
    for row in rows:
        if row.hours:
            yield f"{row.input} in, {row.output} out at {row.hours}, by {row.catalogue}."
