"""Who gets rows and pages: the order of arrival decides, and the youngest gives way."""

import numpy as np

from tests.engine.serving import GREEDY, prompt_of, request
from wazn.engine.defaults import Sampling
from wazn.engine.output import TextWriter
from wazn.engine.pages import PagePool
from wazn.engine.plan import Plan
from wazn.engine.sampler import Choice
from wazn.engine.scheduler import Scheduler
from wazn.engine.sequence import Sequence
from wazn.models.batch import PAGE


def sequence(length: int) -> Sequence:
    """A sequence with a prompt of this length."""
    ids = np.array(prompt_of(length), dtype=np.int32)
    plan = Plan(request(ids.tolist()), ids, 100_000, Sampling(), frozenset(), seed=0)
    return Sequence(plan, 0, TextWriter(GREEDY, None))


def step(scheduler: Scheduler) -> dict[Sequence, int]:
    """Carries out the next step, a token for each complete sequence; rows by sequence."""
    slices = scheduler.schedule()
    for part in slices:
        part.sequence.num_cached += part.num_rows
        if not part.sequence.num_pending:
            part.sequence.append(Choice(1, None))
    return {part.sequence: part.num_rows for part in slices}


def running(scheduler: Scheduler, *lengths: int) -> list[Sequence]:
    """Sequences with prompts of these lengths, all started and decoding."""
    sequences = [sequence(length) for length in lengths]
    for one in sequences:
        scheduler.add(one)
    while not all(one.num_generated for one in sequences):
        step(scheduler)
    return sequences


def test_the_youngest_loses_its_last_page_to_the_oldest() -> None:
    scheduler = Scheduler(PagePool(6), max_rows=1000)
    # The middle one needs no new page for long; the oldest needs its second one at once.
    oldest, middle, youngest = running(scheduler, PAGE - 2, 10, PAGE + 10)
    scheduler.borrow(2)  # now no page is free
    while len(oldest.tokens) <= PAGE:
        step(scheduler)
    assert step(scheduler) == {oldest: 1, middle: 1}
    assert [one.num_pages for one in (oldest, middle, youngest)] == [2, 1, 1]
    assert youngest.num_cached == PAGE and youngest.num_pending > 1


def test_lost_positions_are_computed_again_once_there_are_pages() -> None:
    scheduler = Scheduler(PagePool(6), max_rows=1000)
    oldest, youngest = running(scheduler, PAGE - 2, PAGE + 10)
    borrowed = scheduler.borrow(3)
    while len(oldest.tokens) <= PAGE:
        step(scheduler)
    assert step(scheduler) == {oldest: 1}
    missing = youngest.num_pending
    scheduler.return_pages(borrowed)
    assert step(scheduler) == {oldest: 1, youngest: missing}


def test_free_pages_are_kept_for_the_oldest_that_waits_for_some() -> None:
    scheduler = Scheduler(PagePool(7), max_rows=1000)
    older, younger = running(scheduler, 3 * PAGE, PAGE - 2)
    borrowed = scheduler.borrow(7)  # takes everything from both
    scheduler.return_pages(borrowed[:3])
    newcomer = sequence(1)
    scheduler.add(newcomer)
    # Three pages would do for the younger and the newcomer, but the older needs four.
    assert step(scheduler) == {}
    assert older.num_pages == younger.num_pages == newcomer.num_pages == 0
    scheduler.return_pages(borrowed[3:])
    assert list(step(scheduler)) == [older, younger]


def test_a_newcomer_starts_only_with_a_spare_page_for_each_that_runs() -> None:
    scheduler = Scheduler(PagePool(5), max_rows=1000)
    first, second = running(scheduler, 1, 1)
    newcomer = sequence(PAGE)
    scheduler.add(newcomer)
    borrowed = scheduler.borrow(1)
    assert step(scheduler) == {first: 1, second: 1}
    scheduler.return_pages(borrowed)
    assert step(scheduler) == {first: 1, second: 1, newcomer: PAGE}


def test_no_later_request_overtakes_one_that_does_not_fit_yet() -> None:
    scheduler = Scheduler(PagePool(5), max_rows=1000)
    (first,) = running(scheduler, 2 * PAGE - 5)
    large, small = sequence(4 * PAGE), sequence(1)
    scheduler.add(large)
    scheduler.add(small)
    assert step(scheduler) == {first: 1}
    scheduler.remove(first)
    assert list(step(scheduler)) == [large]


def test_no_more_sequences_run_than_a_step_has_rows() -> None:
    scheduler = Scheduler(PagePool(100), max_rows=3)
    running(scheduler, 1, 1, 1)
    scheduler.add(sequence(1))
    assert len(step(scheduler)) == 3


def test_prompts_are_sliced_finer_while_others_decode() -> None:
    scheduler = Scheduler(PagePool(100), max_rows=1000)
    (decoding,) = running(scheduler, 1)
    prompt = sequence(600)
    scheduler.add(prompt)
    assert step(scheduler) == {decoding: 1, prompt: 128}
    scheduler.remove(decoding)
    assert step(scheduler) == {prompt: 600 - 128}


def test_used_pages_are_handed_out_before_untouched_ones() -> None:
    pool = PagePool(100)
    taken = [pool.take() for _ in range(5)]
    for page in taken:
        pool.give_back(page)
    assert sorted(pool.take() for _ in range(5)) == sorted(taken)
    assert pool.num_free == 95
