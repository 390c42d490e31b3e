"""Models of ModelScope: downloads since the beginning, and likes.

Protocol: `GET openapi/v1/models?owner=…&sort=downloads&page_number=…&page_size=…`, answered with
`{"success": true, "data": {"models": […], "total_count": …}}`. The service shows the first 3 000
models of an owner and no more, so a larger owner is cut off, which is said. Its counter is known
to run backwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated
from urllib.parse import parse_qs, urlencode, urlsplit

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

SOURCE = "modelscope"
DEFINITION = "modelscope-openapi"
PAGE_SIZE = 100
MOST_SHOWN = 3000
"""Where page_number × page_size ends (modelscope_hub 0.5.1, November 2026)."""

Count = Annotated[int, msgspec.Meta(ge=0, le=10**15)]


class _Model(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(pattern=r"^[\w.-]{1,100}/[\w.-]{1,200}$")]
    downloads: Count
    likes: Count | None = None
    created_at: str | int | None = None
    tasks: list[str] | None = None
    license: str | None = None


class _Data(msgspec.Struct):
    models: list[msgspec.Raw]
    total_count: Count


class _Frame(msgspec.Struct):
    data: _Data | None = None
    success: bool = True
    message: str | None = None


class ModelScope:
    """ModelScope, or a mirror of it, asked for everything of some owners."""

    name = "modelscope"
    dates_prices = False
    counted: Sequence[Counted] = (Counted(SOURCE, DEFINITION, "downloads_all_time"),)

    def __init__(self, settings: Settings, owners: Sequence[str]) -> None:
        token = settings.ms_token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.service = Service("ModelScope", settings.ms_endpoint, "WAZN_MS_ENDPOINT", headers)
        self._owners = owners

    @property
    def complete_for(self) -> frozenset[str]:
        return frozenset(owner.lower() for owner in self._owners)

    def first(self) -> list[Request]:
        return [self._request(owner, 1) for owner in self._owners]

    def read(self, answer: Answer) -> Page:
        frame = decode(answer.response.body, _Frame)
        if not frame.success or frame.data is None:
            raise BadAnswer(FaultKind.WRONG_LAYOUT, f"no data: {frame.message}")
        data = frame.data
        teller = Teller(answer, SOURCE, DEFINITION)
        page = read_entries(answer, data.models, _Model, lambda one: _tell(teller, one))
        asked = parse_qs(urlsplit(answer.request.url).query)
        owner, number = asked["owner"][0], int(asked["page_number"][0])
        if data.total_count == 0:
            page.faults.append(page_fault(answer, FaultKind.NOTHING_LISTED, "no models"))
        if number * PAGE_SIZE >= MOST_SHOWN < data.total_count:
            detail = f"{MOST_SHOWN} of {data.total_count} models are shown, the most downloaded"
            page.faults.append(page_fault(answer, FaultKind.CUT_OFF, detail))
        elif data.models and number * PAGE_SIZE < data.total_count:
            page.more.append(self._request(owner, number + 1))
        elif not data.models and (number - 1) * PAGE_SIZE < data.total_count:
            raise BadAnswer(
                FaultKind.TRUNCATED, f"no models of {data.total_count} on page {number}"
            )
        return page

    def _request(self, owner: str, number: int) -> Request:
        query = urlencode(
            {
                "owner": owner,
                "sort": "downloads",
                "page_number": number,
                "page_size": PAGE_SIZE,
            }
        )
        return Request(f"{self.service.endpoint}/openapi/v1/models?{query}", owner)


def _tell(tell: Teller, one: _Model) -> Iterator[Observation]:
    entity = f"ms:{one.id}"
    yield tell(entity, "downloads_all_time", one.downloads)
    if one.likes is not None:
        yield tell(entity, "likes", one.likes)
    created = _created(one.created_at)
    if created is not None:
        yield tell(entity, "created", created)
    for task in (one.tasks or [])[:1]:
        yield tell(entity, f"is:pipeline={task}", 1)
    if one.license:
        yield tell(entity, f"is:license={'-'.join(one.license.lower().split())}", 1)


def _created(value: str | int | None) -> int | None:
    """Days since 1970 of a moment, spelled out or in seconds since 1970."""
    if isinstance(value, int):
        return value // 86_400 if value > 0 else None
    return days_since_1970(value or "")
