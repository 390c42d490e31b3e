"""Tokens a day through OpenRouter, by model: the fifty most used, and the rest as one.

With a key: `GET api/v1/datasets/rankings-daily?start_date=…&end_date=…`, back to the beginning of
2025, in windows of at most 366 days. Without: the daily export of the last 30 days, whose manifest
names the dated file. Days end at midnight UTC and the running one is left out. Tokens are each
vendor's own; figures are restated, so what was captured last counts. The data are CC BY 4.0:
"Source: OpenRouter (openrouter.ai/rankings), as of …".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from urllib.parse import urlencode, urlsplit

import msgspec

from wazn.errors import BadObservation
from wazn.settings import Settings
from wazn.weigh.faults import FaultKind
from wazn.weigh.history import Counted
from wazn.weigh.observation import Observation
from wazn.weigh.sources import Answer, Page, Request
from wazn.weigh.sources.answers import BadAnswer, Teller, decode, entry_fault, read_entries
from wazn.weigh.sources.client import Service

SOURCE = "openrouter"
DEFINITION = "openrouter-rankings"
BEGINNING = date(2025, 1, 1)
LONGEST_WINDOW = timedelta(days=366)
_EXPORTS = "/api/v1/datasets/exports/rankings-daily/"


class _Row(msgspec.Struct):
    date: date
    model_permaslug: str
    total_tokens: int | str


class _Frame(msgspec.Struct):
    data: list[msgspec.Raw]


class _File(msgspec.Struct):
    url: str


class _Manifest(msgspec.Struct):
    files: dict[str, _File]


class OpenRouter:
    """OpenRouter's published usage from `since` to the day before `today` (both dates in UTC)."""

    name = "openrouter"
    dates_prices = False
    complete_for: frozenset[str] = frozenset()
    counted: Sequence[Counted] = (Counted(SOURCE, DEFINITION, "tokens_day"),)

    def __init__(self, settings: Settings, since: date, today: date) -> None:
        token = settings.openrouter_token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.service = Service(
            "OpenRouter", settings.openrouter_endpoint, "WAZN_OPENROUTER_ENDPOINT", headers
        )
        self._has_key = token is not None
        self._since = since
        self._today = today

    def first(self) -> list[Request]:
        if not self._has_key:
            url = f"{self.service.endpoint}{_EXPORTS}latest.manifest.json"
            return [Request(url, "the newest export")]
        return [
            Request(
                f"{self.service.endpoint}/api/v1/datasets/rankings-daily?"
                + urlencode({"start_date": first, "end_date": last}),
                f"{first} to {last}",
            )
            for first, last in windows(self._since, self._today - timedelta(days=1))
        ]

    def read(self, answer: Answer) -> Page:
        path = urlsplit(answer.request.url).path
        if path.endswith(".manifest.json"):
            return self._read_manifest(answer)
        teller = Teller(answer, SOURCE, DEFINITION)
        if path.endswith(".csv"):
            return self._read_export(answer, teller)
        frame = decode(answer.response.body, _Frame)
        return read_entries(answer, frame.data, _Row, lambda row: self._tell(teller, row))

    def _read_manifest(self, answer: Answer) -> Page:
        """Only the path is taken from the manifest, so that a mirror stays the mirror."""
        manifest = decode(answer.response.body, _Manifest)
        path = urlsplit(manifest.files["csv"].url).path if "csv" in manifest.files else ""
        _, found, name = path.rpartition(_EXPORTS)
        if not found or "/" in name or not name.endswith(".csv"):
            raise BadAnswer(FaultKind.WRONG_LAYOUT, f"the manifest names no dated file: {path!r}")
        url = f"{self.service.endpoint}{_EXPORTS}{name}"
        return Page(more=[Request(url, f"the export {name}")])

    def _read_export(self, answer: Answer, tell: Teller) -> Page:
        body = answer.response.body
        if body.lstrip()[:1] in (b"<", b"{", b""):
            raise BadAnswer(FaultKind.WRONG_LAYOUT, f"no CSV: {body[:60]!r}")
        try:
            reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
            rows = list(reader)
        except (UnicodeDecodeError, csv.Error) as error:
            raise BadAnswer(FaultKind.WRONG_LAYOUT, f"no CSV: {error}") from None
        if not {"date", "model_permaslug", "total_tokens"} <= set(reader.fieldnames or ()):
            raise BadAnswer(FaultKind.WRONG_LAYOUT, f"columns {reader.fieldnames}")
        page = Page()
        for number, row in enumerate(rows, 1):
            try:
                one = msgspec.convert(row, _Row, strict=False)
                page.observations.extend(list(self._tell(tell, one)))
            except (msgspec.ValidationError, BadObservation) as error:
                page.faults.append(entry_fault(answer, number, str(error)))
        return page

    def _tell(self, tell: Teller, row: _Row) -> Iterator[Observation]:
        if row.date >= self._today:  # not over yet
            return
        text = str(row.total_tokens)
        if not text.isascii() or not text.isdecimal() or len(text) > 18:
            raise BadObservation(f"total_tokens is {text[:40]!r}, not a number of tokens")
        is_rest = row.model_permaslug == "other"
        entity = "group:other" if is_rest else f"openrouter:{row.model_permaslug}"
        yield tell(entity, "tokens_day", int(text), row.date)


def windows(first: date, last: date) -> Iterator[tuple[date, date]]:
    """Spans that the service answers in one piece, both ends included."""
    while first <= last:
        end = min(last, first + LONGEST_WINDOW - timedelta(days=1))
        yield first, end
        first = end + timedelta(days=1)
