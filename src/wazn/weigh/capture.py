"""One capture of one source: ask, keep the raw answer, note it, and store all of it at the end.

A snapshot enters the store whole or not at all: until every request is answered only the journal
and the raw store grow, so a capture that is interrupted leaves earlier rows alone and the next run
of the same command continues it. What cannot be had, or makes no sense, is named. Knows the order
of things; knows nothing of any service.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from wazn.errors import BadFile, BadRequest, FetchError
from wazn.weigh.durable import remove_leftovers
from wazn.weigh.faults import Fault, FaultKind
from wazn.weigh.folders import Folders
from wazn.weigh.history import new_faults
from wazn.weigh.journal import Entry, Header, Journal, Remark
from wazn.weigh.observation import Observation
from wazn.weigh.price_keeping import keep_rows
from wazn.weigh.prices import PriceRow
from wazn.weigh.sources import Answer, Page, Request, Source
from wazn.weigh.sources.answers import BadAnswer, page_fault
from wazn.weigh.sources.client import AskedToPause, Client, Pace, Refused, Response

MAX_REQUESTS = 20_000
"""The whole Hub is about 2 500 pages of a thousand repositories."""

ROWS_AT_ONCE = 250_000
"""Observations that become one file of the store; only a capture of a whole hub has more."""

_BAD_ANSWERS = 3  # of one request, before it counts as failed
_FAILURES_IN_A_ROW = 3  # before the service counts as down


class Listener(Protocol):
    """Who is told how a capture goes."""

    def asking(self, what: str, num_done: int, num_waiting: int) -> None:
        """A request goes out; so many are done, so many are known to follow."""


@dataclass(slots=True)
class Summary:
    """What a capture brought."""

    source: str
    as_of: date
    num_requests: int = 0
    num_resumed: int = 0
    num_entities: int = 0
    num_rows: int = 0
    num_new: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    record: Path = Path()


class Capture:
    """A capture of `source` into `folders`. `pace` is how it waits."""

    def __init__(self, source: Source, folders: Folders, pace: Pace, listener: Listener) -> None:
        self._source = source
        self._folders = folders
        self._pace = pace
        self._listener = listener
        first = source.first()
        self._queue = deque(first)
        self._first = frozenset(request.url for request in first)
        self._known = set(self._first)
        self._name = f"{source.name}-{_scope(first)}"
        self._journal = Journal(folders.unfinished, self._name)
        self._seen: dict[tuple[str, date], float] = {}
        self._failed: list[str] = []
        self._circles: list[str] = []
        self._price_rows: list[PriceRow] = []
        self._in_a_row = 0

    def run(self, *, partial: bool = False) -> Summary:
        """Ask everything and store it.

        Raises FetchError when some requests failed, unless `partial`; what came is kept for the
        next run. Raises StorageError and BadRequest (another process is at it) too.
        """
        with self._journal.locked():
            remove_leftovers(self._folders.observations)
            began = self._pace.now()
            header = self._journal.take_up(self._source.name, began, self._pace.say)
            summary = Summary(self._source.name, header.as_of)
            client = Client(self._source.service, self._pace)
            try:
                self._ask_all(client, summary)
            finally:
                client.close()
            self._require_all(summary, partial=partial)
            summary.num_new = self._store(summary)
            summary.faults += self._new_faults(header)
            self._end(summary)
        return summary

    def _ask_all(self, client: Client, summary: Summary) -> None:
        while self._queue:
            request = self._queue.popleft()
            self._listener.asking(request.what, summary.num_requests, len(self._queue) + 1)
            if summary.num_requests == MAX_REQUESTS:
                raise FetchError(
                    f"{self._source.service.title} has more than {MAX_REQUESTS} pages to ask for; "
                    "ask for less of it."
                )
            summary.num_requests += 1
            page = self._kept(request, summary) or self._fetched(client, request, summary)
            if page is not None:
                self._take_in(request, page, summary)

    def _kept(self, request: Request, summary: Summary) -> Page | None:
        """The page of an answer that came in an earlier run of this capture."""
        entry = self._journal.entries.get(request.url)
        if entry is None:
            return None
        try:
            page = self._source.read(self._answer(request, entry, summary.as_of))
        except (BadFile, BadRequest, BadAnswer):  # the raw answer was lost: ask again
            return None
        summary.num_resumed += 1
        return page

    def _answer(self, request: Request, entry: Entry, as_of: date) -> Answer:
        body = self._folders.raw.get(entry.sha256)
        response = Response(body, entry.content_type, entry.next_url, entry.captured_at)
        return Answer(request, response, entry.sha256, as_of)

    def _fetched(self, client: Client, request: Request, summary: Summary) -> Page | None:
        """The page of a new answer; None when the request failed, which is noted."""
        try:
            page = self._ask(client, request, summary)
        except Refused as refusal:
            if refusal.status in (401, 403):
                raise
            failure = str(refusal)
        except AskedToPause:
            raise
        except FetchError as error:
            failure = str(error)
        else:
            self._in_a_row = 0
            return page
        self._in_a_row += 1
        self._failed.append(failure)
        day = summary.as_of
        summary.faults.append(Fault(FaultKind.FAILED, request.what, "", day, day, failure))
        if self._in_a_row == _FAILURES_IN_A_ROW:
            raise FetchError(
                f"{failure} {_FAILURES_IN_A_ROW} requests in a row have failed now. What came is "
                "kept: the same command continues there."
            )
        return None

    def _ask(self, client: Client, request: Request, summary: Summary) -> Page:
        """Ask until an answer makes sense, for as long as the service can be hoped to mend."""
        for attempt in itertools.count(1):
            response = client.get(request.url)
            sha256 = self._folders.raw.put(response.body)
            answer = Answer(request, response, sha256, summary.as_of)
            try:
                page = self._source.read(answer)
                break
            except BadAnswer as bad:
                fault = page_fault(answer, bad.kind, bad.detail)
                self._journal.note(Remark(str(fault), sha256))
                if attempt == _BAD_ANSWERS:
                    raise FetchError(
                        f"{self._source.service.title} answered {request.what} with {bad}. Check "
                        f"the address ({self._source.service.variable})."
                    ) from bad
                summary.faults.append(fault)
                self._pace.sleep(2.0**attempt)
        self._journal.note(
            Entry(
                request.url,
                request.what,
                sha256,
                response.content_type,
                response.next_url,
                response.captured_at,
            )
        )
        return page

    def _take_in(self, request: Request, page: Page, summary: Summary) -> None:
        """Count a page, compare it with those before, and queue what follows from it."""
        summary.faults += page.faults
        summary.left_out += page.left_out
        self._price_rows += page.price_rows
        summary.num_rows += len(page.observations)
        is_new = self._note_entities(page, summary)
        day = summary.as_of
        for follower in page.more:
            fault = None
            if follower.url in self._known:
                fault = (FaultKind.PAGE_LOOP, f"names {follower.url} as next, which was asked for")
            elif not is_new and request.url not in self._first:
                fault = (FaultKind.REPEATED_PAGE, "lists nothing that earlier pages did not")
            if fault is not None:
                summary.faults.append(Fault(fault[0], request.what, "", day, day, fault[1]))
                self._circles.append(str(summary.faults[-1]))
                continue
            self._known.add(follower.url)
            self._queue.append(follower)

    def _note_entities(self, page: Page, summary: Summary) -> bool:
        """Remember who was counted; whether anybody is new, or could not be read."""
        before = len(self._seen)
        metric = self._source.counted[0].metric
        for one in page.observations:
            if one.metric != metric:
                continue
            earlier = self._seen.setdefault((one.entity, one.as_of), one.value)
            if earlier != one.value:
                detail = f"{earlier:,.0f} and {one.value:,.0f} in one capture"
                day = one.as_of
                summary.faults.append(
                    Fault(FaultKind.TWO_VALUES, one.entity, metric, day, day, detail)
                )
        summary.num_entities = len(self._seen)
        return len(self._seen) > before or bool(page.faults)

    def _require_all(self, summary: Summary, *, partial: bool) -> None:
        """Raise for what did not come, unless a part will do.

        Pages that run in a circle are no use to continue from, so their journal is given up.
        """
        if self._circles and not partial:
            self._journal.discard()
            raise FetchError(
                f"The pages of {self._source.service.title} run in a circle "
                f"({self._circles[0]}), so nothing was stored. Run the same command again later, "
                "or add --partial to store what came."
            )
        if self._failed and not partial:
            raise FetchError(
                f"{len(self._failed)} of {summary.num_requests} requests did not succeed, so "
                f"nothing was stored: {self._failed[0]} Run the same command again, which asks "
                "only for what is missing, or add --partial to store what came."
            )

    def _new_faults(self, header: Header) -> list[Fault]:
        known = (header.began, header.as_of, self._source.complete_for)
        connection = self._folders.store.connect()
        return [
            fault
            for counted in self._source.counted
            for fault in new_faults(connection, counted, *known)
        ]

    def _store(self, summary: Summary) -> int:
        rows = self._rows(summary.as_of)
        num_new = 0
        while chunk := list(itertools.islice(rows, ROWS_AT_ONCE)):
            num_new += self._folders.store.append(chunk)
        if self._price_rows:
            path = self._folders.prices / f"{self._source.name}.csv"
            keep_rows(path, self._price_rows, dated=self._source.dates_prices)
        return num_new

    def _rows(self, as_of: date) -> Iterator[Observation]:
        """Every observation of the journal's answers, read again from the raw store."""
        for entry in self._journal.entries.values():
            if entry.url in self._known:
                answer = self._answer(Request(entry.url, entry.what), entry, as_of)
                yield from self._source.read(answer).observations

    def _end(self, summary: Summary) -> None:
        """Close the journal and keep it as the record of the capture."""
        now: datetime = self._pace.now()
        for fault in summary.faults:
            self._journal.note(Remark(str(fault)))
        self._journal.note(Remark(f"{summary.num_rows} rows, {summary.num_new} of them new"))
        name = f"{summary.as_of}-{self._name}-{now:%Y%m%dT%H%M%S%f}.jsonl"
        summary.record = self._folders.captures / name
        self._journal.close(summary.record)


def _scope(first: Sequence[Request]) -> str:
    """A short name for what is asked for: captures of the same continue each other."""
    lines = sorted(f"{request.url} {request.wanted}\n" for request in first)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]
