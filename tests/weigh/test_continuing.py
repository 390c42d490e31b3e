"""Captures that follow one another: faults that only time shows, and continuing after anything."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.weigh.capturing import MORNING, Observer
from tests.weigh.services import Reply, Services, repository, running_services, settings_of
from wazn.errors import BadRequest, FetchError
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


def hub(services: Services, *publishers: str) -> Hub:
    return Hub(settings_of(services, Path("/nowhere")), publishers)


def later(
    services: Services, observer: Observer, days: int, *hub_now: dict[str, object]
) -> list[str]:
    """Capture again so many days later; returns the faults as text."""
    observer.now = MORNING + timedelta(days=days)
    services.hub = list(hub_now)
    names = {str(one["id"]).partition("/")[0] for one in hub_now} | {"Qwen", "THUDM"}
    summary = observer.capture(hub(services, *sorted(names)))
    return [str(fault) for fault in summary.faults if fault.kind is not FaultKind.NOTHING_LISTED]


def test_faults_of_numbers_are_named_by_the_capture_that_shows_them(
    services: Services, observer: Observer
) -> None:
    def at(downloads: int, total: int, name: str = "Qwen/a") -> dict[str, object]:
        return repository(name, downloads, downloadsAllTime=total)

    assert later(services, observer, 0, at(6_871, 600_000)) == []
    assert later(services, observer, 30, at(6_900, 700_000)) == []
    rise = later(services, observer, 60, at(1_542_506, 2_300_000))
    assert [text.split(":")[0] for text in rise] == ["step"]
    assert later(services, observer, 90, at(4_267_077, 6_500_000)) == []
    (spike,) = later(services, observer, 120, at(2_936, 6_503_000))
    assert spike.endswith("6,900 → 1,542,506 → 4,267,077 → 2,936")
    (fall,) = later(services, observer, 150, at(3_000, 4_000_000))
    assert fall.startswith("falling counter: hf:Qwen/a downloads_all_time: a total fell by 38%")
    gap = later(services, observer, 240, at(3_100, 4_100_000))
    assert all("missing days" in text and "2 more would be usual" in text for text in gap)
    assert len(gap) == 2  # of both counters
    assert later(services, observer, 241, at(3_100, 4_100_000)) == []


def test_renames_and_test_fixtures_are_named(services: Services, observer: Observer) -> None:
    old = repository("THUDM/glm-4-9b", 900_000)
    new = repository("zai-org/glm-4-9b", 910_000)
    fixture = repository("trl-internal-testing/tiny-Qwen2ForCausalLM-2.5", 17_833_129)
    assert later(services, observer, 0, old) == []
    found = later(services, observer, 30, new, fixture)
    assert len([text for text in found if text.startswith("rename: hf:THUDM/glm-4-9b")]) == 2
    assert any("rank 1 of 2, is loaded by tests" in text for text in found)


def test_what_one_publisher_lists_says_nothing_of_others(
    services: Services, observer: Observer
) -> None:
    observer.capture(hub(services, "Qwen", "meta-llama"))
    observer.now += timedelta(days=1)
    assert observer.capture(hub(services, "meta-llama")).faults == []


def test_a_second_capture_of_a_day_restates_and_loses_nothing(
    services: Services, observer: Observer
) -> None:
    first = observer.capture(hub(services, "Qwen"))
    assert observer.capture(hub(services, "Qwen")).num_new == 0
    services.hub[0] = repository("Qwen/Qwen3-0.6B", 22_000_000)
    observer.now += timedelta(hours=3)
    again = observer.capture(hub(services, "Qwen"))
    assert (again.num_new, again.faults) == (1, [])
    assert observer.num_stored() == first.num_rows + 1
    assert observer.values("downloads_30d")["hf:Qwen/Qwen3-0.6B", TODAY] == 22_000_000


def test_an_interrupted_capture_continues_with_its_own_day(
    services: Services, observer: Observer
) -> None:
    def interrupt(what: str) -> None:
        if what == "meta-llama":
            raise KeyboardInterrupt

    source = hub(services, "Qwen", "meta-llama")
    with pytest.raises(KeyboardInterrupt):
        replace(observer, on_ask=interrupt).capture(source)
    observer.now = MORNING + timedelta(hours=17)  # after midnight
    summary = observer.capture(hub(services, "Qwen", "meta-llama"))
    assert (summary.num_resumed, summary.as_of) == (1, TODAY)
    assert len([path for path in services.seen if "author=Qwen" in path]) == 1
    assert {day for _, day in observer.values("downloads_30d")} == {TODAY}


def test_an_unfinished_capture_of_another_day_is_begun_anew(
    services: Services, observer: Observer
) -> None:
    services.always["author=meta"] = Reply(500)
    with pytest.raises(FetchError):
        observer.capture(hub(services, "Qwen", "meta-llama"))
    services.always.clear()
    observer.now = MORNING + timedelta(hours=25)
    summary = observer.capture(hub(services, "Qwen", "meta-llama"))
    assert (summary.num_resumed, summary.as_of) == (0, TODAY + timedelta(days=1))
    (said,) = observer.said
    assert "2026-11-26 that did not end is too old to continue; its 1 answers are kept" in said


@pytest.mark.parametrize("damage", [b'{"line":"answer","url', b"\x00\xff\n{}", b"[]\n"])
def test_a_journal_cut_or_damaged_at_its_end_is_continued_before_it(
    services: Services, observer: Observer, damage: bytes
) -> None:
    services.always["author=meta"] = Reply(500)
    with pytest.raises(FetchError):
        observer.capture(hub(services, "Qwen", "meta-llama"))
    services.always.clear()
    (journal,) = observer.folders.unfinished.glob("*.jsonl")
    with open(journal, "ab") as file:
        file.write(damage)
    assert observer.capture(hub(services, "Qwen", "meta-llama")).num_resumed == 1


def test_an_answer_lost_from_the_raw_store_is_asked_for_again(
    services: Services, observer: Observer
) -> None:
    services.always["author=meta"] = Reply(500)
    with pytest.raises(FetchError):
        observer.capture(hub(services, "Qwen", "meta-llama"))
    services.always.clear()
    for path in (observer.folders.observations / "raw").rglob("*.gz"):
        path.unlink()
    assert observer.capture(hub(services, "Qwen", "meta-llama")).num_entities == 3


def test_two_processes_do_not_capture_the_same_at_once(
    services: Services, observer: Observer
) -> None:
    def capture_too(what: str) -> None:
        with pytest.raises(BadRequest, match="another process is observing the same"):
            Observer(observer.home).capture(hub(services, "Qwen"))

    observer.on_ask = capture_too
    assert observer.capture(hub(services, "Qwen")).num_entities == 2
