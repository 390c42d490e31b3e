"""Repositories of the Hugging Face Hub: downloads of 30 days and of all time, likes, properties.

Protocol: `GET api/models?author=…&sort=downloads&limit=1000&expand[]=…`, the next page by the
cursor in the `Link` header, which is all that is taken from it, so that a mirror stays the mirror.
The number of derivatives is only told one repository at a time (`api/models/ORG/NAME`). The
counter is the Hub's: every GET and HEAD of a repository's query file counts, thus tests do too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import msgspec

from wazn.settings import Settings
from wazn.weigh.faults import FaultKind
from wazn.weigh.history import Counted
from wazn.weigh.observation import Observation
from wazn.weigh.sources import Answer, Page, Request
from wazn.weigh.sources.answers import (
    BadAnswer,
    Teller,
    days_since_1970,
    decode,
    page_fault,
    read_entries,
)
from wazn.weigh.sources.client import Service

SOURCE = "huggingface"
DEFINITION = "hub-api"
PAGE_SIZE = 1000
_EXPANDED = (*("createdAt", "downloads", "downloadsAllTime", "likes", "pipeline_tag", "tags"),)

Count = Annotated[int, msgspec.Meta(ge=0, le=10**15)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}$")]


class _Repository(msgspec.Struct):
    id: Name
    downloads: Count
    downloads_all_time: Count | None = msgspec.field(default=None, name="downloadsAllTime")
    likes: Count | None = None
    created_at: str | None = msgspec.field(default=None, name="createdAt")
    pipeline_tag: str | None = None
    tags: list[str] = []


class _Parent(msgspec.Struct):
    id: Name
    children: Count | dict[str, Count] = msgspec.field(name="childrenModelCount")


class Hub:
    """The Hub, or a mirror of it, asked for everything of some publishers, or for the `top` most
    downloaded repositories of all (None: every one).

    `derivatives_above`: repositories with so many downloads are asked for their derivatives too.
    """

    name = "hub"
    dates_prices = False
    counted: Sequence[Counted] = (
        Counted(SOURCE, DEFINITION, "downloads_30d"),
        Counted(SOURCE, DEFINITION, "downloads_all_time"),
    )

    def __init__(
        self,
        settings: Settings,
        publishers: Sequence[str] | None,
        top: int | None = None,
        derivatives_above: int | None = None,
    ) -> None:
        token = settings.hf_token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.service = Service("Hugging Face", settings.hf_endpoint, "WAZN_HF_ENDPOINT", headers)
        self._publishers = publishers
        self._top = top
        self._derivatives_above = derivatives_above

    @property
    def complete_for(self) -> frozenset[str]:
        return frozenset(name.lower() for name in self._publishers or ())

    def first(self) -> list[Request]:
        if self._publishers is None:
            what = "all repositories" if self._top is None else f"the {self._top} most downloaded"
            return [Request(self._listing({}, self._top), what, self._top)]
        return [Request(self._listing({"author": name}, None), name) for name in self._publishers]

    def read(self, answer: Answer) -> Page:
        if urlsplit(answer.request.url).path.endswith("/api/models"):
            return self._read_listing(answer)
        return self._read_parent(answer)

    def _listing(self, query: dict[str, str], wanted: int | None) -> str:
        size = PAGE_SIZE if wanted is None else min(PAGE_SIZE, wanted)
        pairs = [*query.items(), ("sort", "downloads"), ("limit", str(size))]
        pairs += [("expand[]", name) for name in _EXPANDED]
        return f"{self.service.endpoint}/api/models?{urlencode(pairs)}"

    def _read_listing(self, answer: Answer) -> Page:
        entries = decode(answer.response.body, list[msgspec.Raw])
        teller = Teller(answer, SOURCE, DEFINITION)
        page = read_entries(answer, entries, _Repository, lambda one: _tell(teller, one))
        asked = parse_qs(urlsplit(answer.request.url).query)
        if not entries and "cursor" not in asked:
            page.faults.append(page_fault(answer, FaultKind.NOTHING_LISTED, "no repositories"))
        wanted = answer.request.wanted
        left = None if wanted is None else wanted - len(entries)
        if answer.response.next_url and (left is None or left > 0):
            query = {key: asked[key][0] for key in ("author",) if key in asked}
            query["cursor"] = _cursor(answer.response.next_url)
            page.more.append(Request(self._listing(query, left), answer.request.what, left))
        if self._derivatives_above is not None:
            page.more += [
                Request(self._parent(one.entity), f"derivatives of {one.entity}")
                for one in page.observations
                if one.metric == "downloads_30d" and one.value >= self._derivatives_above
            ]
        return page

    def _parent(self, entity: str) -> str:
        name = quote(entity.removeprefix("hf:"))
        return f"{self.service.endpoint}/api/models/{name}?expand[]=childrenModelCount"

    def _read_parent(self, answer: Answer) -> Page:
        parent = decode(answer.response.body, _Parent)
        children = parent.children
        total = children if isinstance(children, int) else sum(children.values())
        tell = Teller(answer, SOURCE, DEFINITION)
        return Page([tell(f"hf:{parent.id}", "derivatives", total)])


def _cursor(next_url: str) -> str:
    cursors = parse_qs(urlsplit(next_url).query).get("cursor")
    if not cursors:
        raise BadAnswer(FaultKind.WRONG_LAYOUT, f"the next page has no cursor: {next_url}")
    return cursors[0]


def _tell(tell: Teller, one: _Repository) -> Iterator[Observation]:
    """The observations of one repository; what the Hub does not say is left out."""
    entity = f"hf:{one.id}"
    yield tell(entity, "downloads_30d", one.downloads)
    if one.downloads_all_time is not None:
        yield tell(entity, "downloads_all_time", one.downloads_all_time)
    if one.likes is not None:
        yield tell(entity, "likes", one.likes)
    created = days_since_1970(one.created_at or "")
    if created is not None:
        yield tell(entity, "created", created)
    if one.pipeline_tag:
        yield tell(entity, f"is:pipeline={one.pipeline_tag}", 1)
    yield from _tell_tags(tell, entity, one.tags)


def _tell_tags(tell: Teller, entity: str, tags: Sequence[str]) -> Iterator[Observation]:
    """Licence and lineage, which the Hub spells `license:mit`, `base_model:org/name` and
    `base_model:quantized:org/name`. Of several bases (a merge) the first counts as the base."""
    for tag in tags:
        if tag.startswith("license:"):
            yield tell(entity, f"is:license={tag.removeprefix('license:')}", 1)
            break
    relations = [tag.split(":") for tag in tags if tag.startswith("base_model:")]
    bases = [parts[-1] for parts in relations if "/" in parts[-1]]
    if bases:
        yield tell(entity, f"is:base=hf:{bases[0]}", 1)
    kinds = [parts[1] for parts in relations if len(parts) == 3]
    if kinds:
        yield tell(entity, f"is:relation={kinds[0]}", 1)
