"""Published figures as they were printed: each with its date, scope, source and confidence.

The file `facts/facts.csv` of the package is the only place where such figures stand; no code
knows one, so a row that is deleted is an answer that is gone. A fact belongs to the lens whose
definition it was counted by, or to none. Claims are figures that somebody printed without saying
what was counted.
"""

from __future__ import annotations

import calendar
import csv
import re
from dataclasses import dataclass, fields
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Literal, cast, get_args

from wazn.errors import BadFile

Kind = Literal["published", "computed", "claim"]
Confidence = Literal["high", "medium", "low", "none"]


@dataclass(frozen=True, slots=True)
class Period:
    """The days that a printed date such as 2025, 2025-10 or 2025-10-31 may mean."""

    text: str
    first: date
    last: date

    @classmethod
    def parse(cls, text: str) -> Period:
        """Raises ValueError for what is not a year, a month or a day."""
        match = re.fullmatch(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?", text)
        if match is None:
            raise ValueError(f"{text!r} is not a date such as 2025, 2025-10 or 2025-10-31")
        year, month, day = (int(part) if part else None for part in match.groups())
        assert year is not None
        last_month = month or 12
        last_day = day or calendar.monthrange(year, last_month)[1]
        return cls(text, date(year, month or 1, day or 1), date(year, last_month, last_day))


@dataclass(frozen=True, slots=True)
class Fact:
    """One printed figure. `value` is a number in `unit`, or a Period where the unit is date."""

    id: str
    as_of: Period
    entity: str
    metric: str
    value: float | Period
    unit: str
    qualifier: str
    lens: str
    kind: Kind
    confidence: Confidence
    scope: str
    source: str
    citation_url: str
    seen_at: str
    note: str

    @property
    def number(self) -> float:
        """The value where it is one; zero is no figure anybody printed."""
        return self.value if isinstance(self.value, float) else 0.0


COLUMNS = tuple(field.name for field in fields(Fact))


def facts_path() -> Path:
    """The facts that come with the package."""
    return Path(str(files("wazn.weigh") / "facts" / "facts.csv"))


def load_facts(path: Path | None = None) -> list[Fact]:
    """The facts of a file with the columns of COLUMNS, else of the package.

    Raises BadFile naming the row and the field.
    """
    place = facts_path() if path is None else path
    try:
        with open(place, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise BadFile(f"{place} must begin with the columns {','.join(COLUMNS)}.")
            facts = [_fact(place, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadFile(f"{place} cannot be read as CSV in UTF-8: {error}.") from None
    seen: set[str] = set()
    for fact in facts:
        if fact.id in seen:
            raise BadFile(f"{place} has two facts {fact.id}; give each an id of its own.")
        seen.add(fact.id)
    return facts


def _fact(place: Path, row: dict[str, str | None]) -> Fact:
    name = row.get("id") or "without an id"
    try:
        texts = {column: row[column] for column in COLUMNS}
        if None in texts.values() or None in row:
            raise ValueError(f"it does not have {len(COLUMNS)} columns")
        text = cast(dict[str, str], texts)
        for column, choices in (("kind", get_args(Kind)), ("confidence", get_args(Confidence))):
            if text[column] not in choices:
                raise ValueError(f"{column} {text[column]!r} is not one of {', '.join(choices)}")
        for column in ("id", "entity", "metric", "unit", "source"):
            if not text[column]:
                raise ValueError(f"{column} is empty")
        if not text["citation_url"].startswith("https://"):
            raise ValueError(f"citation_url {text['citation_url']!r} is not an https address")
        value = _value(text["value"], text["unit"])
        return Fact(**{**text, "as_of": Period.parse(text["as_of"]), "value": value})  # type: ignore[arg-type]
    except ValueError as error:
        raise BadFile(f"{place}: fact {name} cannot be used: {error}.") from None


def _value(text: str, unit: str) -> float | Period:
    if unit == "date":
        return Period.parse(text)
    if not re.fullmatch(r"\d{1,16}(\.\d{1,9})?", text):
        raise ValueError(f"value {text!r} is not a plain number")
    return float(text)
