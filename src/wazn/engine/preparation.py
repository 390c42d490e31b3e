"""Templates and tokenisers on a thread of their own, so that a long prompt stalls no decoding.

Knows the order of arrival and that a request may be withdrawn meanwhile; knows nothing of the
engine, which only the worker's main thread may touch. A failure is a result like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

import zmq

from wazn.engine.protocol import Submit

Prepared = TypeVar("Prepared")


class Preparation(Generic[Prepared]):
    """Runs ``prepare`` for each submission in turn; ``waker`` becomes readable with each result.

    ``pending`` holds the ids whose result is still wanted; a caller that discards one from it
    spares the work, if it has not begun, and the result.
    """

    def __init__(
        self, prepare: Callable[[Submit], Prepared], context: zmq.Context[zmq.Socket[bytes]]
    ):
        self.pending: set[str] = set()
        self._prepare = prepare
        self._waiting: SimpleQueue[Submit | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[Submit, Prepared | Exception]] = SimpleQueue()
        address = f"inproc://preparation-{id(self)}"
        self.waker = context.socket(zmq.PULL)
        self.waker.bind(address)
        self._wake = context.socket(zmq.PUSH)
        self._wake.connect(address)
        self._thread = Thread(target=self._run, name="preparation", daemon=True)
        self._thread.start()

    def add(self, submission: Submit) -> None:
        """Queues a submission; its id is pending until its result is taken."""
        self.pending.add(submission.id)
        self._waiting.put(submission)

    def results(self) -> Iterator[tuple[Submit, Prepared | Exception]]:
        """Takes what is prepared and still wanted, without waiting."""
        while self.waker.poll(0):
            self.waker.recv()
        while True:
            try:
                submission, result = self._results.get_nowait()
            except Empty:
                return
            if submission.id in self.pending:
                self.pending.discard(submission.id)
                yield submission, result

    def close(self) -> None:
        """Ends the thread after the submission it is working on."""
        self.pending.clear()
        self._waiting.put(None)
        self._thread.join()
        self._wake.close(linger=0)
        self.waker.close(linger=0)

    def _run(self) -> None:
        while (submission := self._waiting.get()) is not None:
            if submission.id not in self.pending:
                continue
            try:
                result: Prepared | Exception = self._prepare(submission)
            except Exception as error:
                result = error
            self._results.put((submission, result))
            self._wake.send(b"")
