"""Captures of the Hub: paging, limits, every fault of an answer, and continuing after anything."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.weigh.capturing import Observer
from tests.weigh.services import (
    HANG_UP,
    HTML,
    TRUNCATED,
    Reply,
    Services,
    repository,
    running_services,
    settings_of,
)
from wazn.errors import FetchError
from wazn.weigh.faults import FaultKind
from wazn.weigh.sources.hub import Hub

TODAY = date(2026, 11, 26)


@pytest.fixture
def services() -> Iterator[Services]:
    with running_services() as services:
        services.hub = [
            repository("Qwen/Qwen3-0.6B", 21_952_078),
            repository("Qwen/Qwen3-8B", 9_000_000),
            repository("meta-llama/Llama-3.2-1B", 1_308_768),
        ]
        yield services


@pytest.fixture
def observer(tmp_path: Path) -> Observer:
    return Observer(tmp_path)


def hub(services: Services, *publishers: str, top: int | None = None) -> Hub:
    settings = settings_of(services, Path("/nowhere"))
    return Hub(settings, publishers or None, top)


def kinds(observer: Observer, source: Hub, *, partial: bool = False) -> list[FaultKind]:
    return [fault.kind for fault in observer.capture(source, partial=partial).faults]


def test_every_repository_of_a_publisher_is_told_with_its_properties(
    services: Services, observer: Observer
) -> None:
    summary = observer.capture(hub(services, "Qwen"))
    assert (summary.num_entities, summary.num_requests, summary.faults) == (2, 1, [])
    assert observer.values("downloads_30d") == {
        ("hf:Qwen/Qwen3-0.6B", TODAY): 21_952_078,
        ("hf:Qwen/Qwen3-8B", TODAY): 9_000_000,
    }
    for metric in (
        *("downloads_all_time", "likes", "is:pipeline=text-generation", "is:license=apache-2.0"),
        *("is:base=hf:Qwen/Qwen3-0.6B-Base", "is:relation=finetune"),
    ):
        assert ("hf:Qwen/Qwen3-0.6B", TODAY) in observer.values(metric), metric
    assert observer.values("created")["hf:Qwen/Qwen3-8B", TODAY] == 20_205


def test_pages_are_followed_by_their_cursor_and_a_mirror_is_not_left(
    services: Services, observer: Observer
) -> None:
    services.page_size = 1
    summary = observer.capture(hub(services, "Qwen", "meta-llama"))
    assert (summary.num_entities, summary.num_requests) == (3, 3)
    assert "cursor=1" in services.seen[-1] and "author=Qwen" in services.seen[-1]


def test_the_most_downloaded_are_asked_for_up_to_the_number_wanted(
    services: Services, observer: Observer
) -> None:
    services.page_size = 1
    assert observer.capture(hub(services, top=2)).num_entities == 2
    assert len(services.seen) == 2


def test_what_another_command_left_unfinished_is_not_mixed_in(
    services: Services, observer: Observer
) -> None:
    services.page_size = 1
    services.always["cursor=2"] = Reply(500)
    with pytest.raises(FetchError):
        observer.capture(hub(services))
    assert observer.capture(hub(services, top=1)).num_entities == 1
    assert len(observer.values("downloads_30d")) == 1


def test_derivatives_are_asked_for_one_repository_at_a_time(
    services: Services, observer: Observer
) -> None:
    services.children = {"Qwen/Qwen3-0.6B": {"finetune": 5, "quantized": 7}}
    settings = settings_of(services, observer.home)
    observer.capture(Hub(settings, ["Qwen"], derivatives_above=10_000_000))
    assert observer.values("derivatives") == {("hf:Qwen/Qwen3-0.6B", TODAY): 12}


def test_the_token_goes_along_and_nowhere_into_the_records(
    services: Services, observer: Observer
) -> None:
    settings = settings_of(services, observer.home, token="hf_secret")
    observer.capture(Hub(settings, ["Qwen"]))
    assert services.tokens == ["Bearer hf_secret"]
    kept = b"".join(path.read_bytes() for path in observer.home.rglob("*") if path.is_file())
    assert b"hf_secret" not in kept


def test_a_spent_allowance_is_waited_for(services: Services, observer: Observer) -> None:
    services.limit = ['"api";r=1;t=200', '"api";r=0;t=264', '"api";r=499;t=300']
    observer.capture(hub(services, "Qwen", "meta-llama", "google"))
    assert observer.waits == [265.0]
    assert observer.said == ["Hugging Face asks for a pause of 265 s"]


def test_a_429_is_asked_again_after_the_time_it_names(
    services: Services, observer: Observer
) -> None:
    services.spoil("author=Qwen", Reply(429, headers={"Retry-After": "41"}))
    assert observer.capture(hub(services, "Qwen")).num_entities == 2
    assert observer.waits == [42.0]


def test_a_service_that_wants_hours_is_left_alone_and_continued_later(
    services: Services, observer: Observer
) -> None:
    services.spoil("author=meta", Reply(429, headers={"Retry-After": "7200"}))
    with pytest.raises(FetchError, match=r"pause of 120 minutes.*continues where it stopped"):
        observer.capture(hub(services, "Qwen", "meta-llama", "google"))
    assert observer.num_stored() == 0 and len(services.seen) == 2
    summary = observer.capture(hub(services, "Qwen", "meta-llama", "google"))
    assert (summary.num_resumed, len(services.seen)) == (1, 4)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_passing_errors_of_a_server_are_asked_again(
    services: Services, observer: Observer, status: int
) -> None:
    services.spoil("author=Qwen", Reply(status), Reply(status))
    assert observer.capture(hub(services, "Qwen")).num_entities == 2
    assert observer.waits == [1.0, 2.0]


def test_a_connection_that_breaks_off_is_asked_again(
    services: Services, observer: Observer
) -> None:
    services.spoil("author=Qwen", HANG_UP)
    assert observer.capture(hub(services, "Qwen")).num_entities == 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (HTML, FaultKind.HTML),
        (TRUNCATED, FaultKind.TRUNCATED),
        (Reply(body=b""), FaultKind.TRUNCATED),
        (Reply(body=b'[{"id":"a/b","downloads":NaN}]'), FaultKind.NOT_JSON),
        (Reply(body=b"oops"), FaultKind.NOT_JSON),
        (Reply(body=b"[" * 100_000), FaultKind.NOT_JSON),
        (Reply(body=b'{"error": "quota"}'), FaultKind.WRONG_LAYOUT),
        (
            Reply(body=b"[]", headers={"Link": '<http://x/?a=1>; rel="next"'}),
            FaultKind.WRONG_LAYOUT,
        ),
    ],
)
def test_an_answer_that_makes_no_sense_is_named_kept_and_asked_for_again(
    services: Services, observer: Observer, reply: Reply, kind: FaultKind
) -> None:
    services.spoil("author=Qwen", reply)
    summary = observer.capture(hub(services, "Qwen"))
    assert [fault.kind for fault in summary.faults] == [kind]
    assert summary.num_entities == 2
    lines = [json.loads(line) for line in summary.record.read_text().splitlines()]
    sha256 = next(line["sha256"] for line in lines if line["line"] == "remark")
    assert observer.folders.raw.get(sha256) == reply.body


@pytest.mark.parametrize("reply", [HTML, TRUNCATED, Reply(500), Reply(404)])
def test_what_stays_wrong_stores_nothing_and_is_all_that_is_asked_for_next_time(
    services: Services, observer: Observer, reply: Reply
) -> None:
    services.always["author=meta"] = reply
    with pytest.raises(FetchError, match="1 of 2 requests did not succeed, so nothing was stored"):
        observer.capture(hub(services, "meta-llama", "Qwen"))
    assert observer.num_stored() == 0
    services.always.clear()
    services.seen.clear()
    summary = observer.capture(hub(services, "meta-llama", "Qwen"))
    assert (summary.num_entities, summary.num_resumed, len(services.seen)) == (3, 1, 1)


def test_a_part_is_stored_when_it_is_asked_for(services: Services, observer: Observer) -> None:
    services.always["author=meta"] = HTML
    found = kinds(observer, hub(services, "meta-llama", "Qwen"), partial=True)
    assert found == [FaultKind.HTML, FaultKind.HTML, FaultKind.FAILED]
    assert len(observer.values("downloads_30d")) == 2


def test_a_service_that_is_down_is_not_asked_for_everything(
    services: Services, observer: Observer
) -> None:
    services.always["/api/models"] = Reply(503)
    with pytest.raises(FetchError, match="3 requests in a row have failed"):
        observer.capture(hub(services, *"abcdefgh"))
    assert len(services.seen) == 15


def test_a_wrong_token_is_said_at_once(services: Services, observer: Observer) -> None:
    services.always["/api/models"] = Reply(401)
    with pytest.raises(FetchError, match="answered 401"):
        observer.capture(hub(services, "Qwen", "meta-llama"))
    assert len(services.seen) == 1


def test_entries_of_a_wrong_type_are_set_aside_and_named(
    services: Services, observer: Observer
) -> None:
    services.hub += [
        repository("Qwen/text", "many"),
        repository("Qwen/negative", -1),
        repository("Qwen/half", 0.5),
        repository("Qwen/truth", True),
        repository("Qwen/huge", 10**40),
        repository("Qwen/none", None),
        repository("Qwen/in valid", 5),
        repository("Qwen/../../etc", 5),
        repository("Qwen/spaced", 5, pipeline_tag="text generation"),
    ]
    services.hub[3:3] = [repository("Qwen/fine", 7, downloadsAllTime=None, likes=None, tags=[])]
    summary = observer.capture(hub(services, "Qwen"))
    wrong = [fault for fault in summary.faults if fault.kind is FaultKind.WRONG_TYPE]
    assert len(wrong) == 9 and summary.num_entities == 3
    assert "Qwen, entry 4" in str(wrong[0]) and "got `str` - at `$.downloads`" in str(wrong[0])


def test_pages_that_run_in_a_circle_end(services: Services, observer: Observer) -> None:
    link = {"Link": '<http://x/api/models?cursor=1>; rel="next"'}
    body = json.dumps([repository("Qwen/a", 1)]).encode()
    services.always["/api/models"] = Reply(body=body, headers=link)
    with pytest.raises(FetchError, match="run in a circle"):
        observer.capture(hub(services, "Qwen"))
    assert observer.num_stored() == 0 and len(services.seen) == 2
    found = kinds(observer, hub(services, "Qwen"), partial=True)
    assert FaultKind.PAGE_LOOP in found and observer.num_stored() > 0


def test_endless_pages_that_repeat_end(services: Services, observer: Observer) -> None:
    class Endless(dict[str, Reply]):
        """Always the same page, always with a new cursor."""

        def items(self) -> object:  # type: ignore[override]
            link = f'<http://x/api/models?cursor={len(services.seen)}>; rel="next"'
            body = json.dumps([repository("Qwen/a", 1)]).encode()
            return [("/api/models", Reply(body=body, headers={"Link": link}))]

    services.always = Endless()
    with pytest.raises(FetchError, match="repeated page"):
        observer.capture(hub(services, "Qwen"))
    assert len(services.seen) == 2


def test_a_repository_on_two_pages_is_stored_once_and_two_values_are_named(
    services: Services, observer: Observer
) -> None:
    services.page_size = 2
    services.hub = [
        *(repository("Qwen/a", 9), repository("Qwen/b", 8)),
        *(repository("Qwen/b", 8), repository("Qwen/a", 10)),
        repository("Qwen/c", 1),
    ]
    services.hub.insert(3, repository("Qwen/d", 2))
    found = kinds(observer, hub(services, "Qwen"))
    assert found == [FaultKind.TWO_VALUES]
    assert len(observer.values("downloads_30d")) == 4


def test_a_publisher_without_repositories_is_named(services: Services, observer: Observer) -> None:
    assert kinds(observer, hub(services, "THUDM", "Qwen")) == [FaultKind.NOTHING_LISTED]
