"""Ollama's library: pulls since the beginning, as the site rounds them.

There is no API that lists them (ollama/ollama#286), so this reads the page `/library`: an `li` with
the attribute `x-test-model` for each model, in it a link to `/library/NAME` and a `span` with
`x-test-pull-count` such as `118.7M`. One request a capture. A page without such entries has
changed its layout, which is an error and never an empty snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser

from wazn.errors import BadObservation
from wazn.settings import Settings
from wazn.weigh.faults import FaultKind
from wazn.weigh.history import Counted
from wazn.weigh.sources import Answer, Page, Request
from wazn.weigh.sources.answers import BadAnswer, Teller, entry_fault, printable
from wazn.weigh.sources.client import Service

SOURCE = "ollama"
DEFINITION = "ollama-library"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}
_ROUNDED = re.compile(r"(\d{1,3}(?:,\d{3})*|\d{1,12})(\.\d{1,6})?\s*([KMB]?)")
_LINK = re.compile(r"(?:https?://[^/]+)?/library/([\w.-]{1,100})")


class Ollama:
    """Ollama's site, or a mirror of it."""

    name = "ollama"
    dates_prices = False
    complete_for = None
    counted: Sequence[Counted] = (Counted(SOURCE, DEFINITION, "pulls"),)

    def __init__(self, settings: Settings) -> None:
        self.service = Service("Ollama", settings.ollama_endpoint, "WAZN_OLLAMA_ENDPOINT")

    def first(self) -> list[Request]:
        return [Request(f"{self.service.endpoint}/library", "the library")]

    def read(self, answer: Answer) -> Page:
        models = read_library(answer.response.body)
        tell = Teller(answer, SOURCE, DEFINITION)
        page = Page()
        for number, (name, shown) in enumerate(models, 1):
            pulls = unrounded(shown)
            try:
                if not name or pulls is None:
                    raise BadObservation(f"model {name!r} shows {shown!r} pulls")
                page.observations.append(tell(f"ollama:{name}", "pulls", pulls))
            except BadObservation as error:
                page.faults.append(entry_fault(answer, number, str(error)))
        if not page.observations:
            raise BadAnswer(FaultKind.WRONG_LAYOUT, "no entry of the library could be read")
        return page


def unrounded(shown: str) -> float | None:
    """`118.7M` → 118 700 000.0; None for what is no such number."""
    match = _ROUNDED.fullmatch(shown.strip().upper())
    if match is None:
        return None
    return round(float(match[1].replace(",", "") + (match[2] or "")) * _UNITS[match[3]])


def read_library(body: bytes) -> list[tuple[str, str]]:
    """Name and shown pull count of every entry; raises BadAnswer for what is no such page."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadAnswer(FaultKind.WRONG_LAYOUT, f"not UTF-8: {error}") from None
    if "</html>" not in text.lower():
        kind = FaultKind.TRUNCATED if "<html" in text.lower() else FaultKind.WRONG_LAYOUT
        raise BadAnswer(kind, f"{len(body)} bytes that begin {printable(text[:60])!r}")
    reader = _LibraryReader()
    reader.feed(text)
    reader.close()
    if not reader.models:
        raise BadAnswer(FaultKind.WRONG_LAYOUT, "the page lists no models")
    return reader.models


class _LibraryReader(HTMLParser):
    """Collects the entries of the library's list."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.models: list[tuple[str, str]] = []
        self._is_count = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if "x-test-model" in attributes:
            self.models.append(("", ""))
        link = _LINK.fullmatch(attributes.get("href") or "") if tag == "a" else None
        if link and self.models and not self.models[-1][0]:
            self.models[-1] = (link[1], self.models[-1][1])
        self._is_count = "x-test-pull-count" in attributes

    def handle_data(self, data: str) -> None:
        if self._is_count and self.models:
            name, shown = self.models[-1]
            self.models[-1] = (name, shown + data)

    def handle_endtag(self, tag: str) -> None:
        self._is_count = False
