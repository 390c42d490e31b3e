"""One thread that owns the engine; every other thread sends it orders and waits for results.

Requests from any number of threads are batched together, no lock is held during a step, and an
interrupt of the main thread can never leave a step half done. Knows nothing of what the results
are for: a ``Sink`` takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Lock, Thread, current_thread
from typing import Generic, NoReturn, Protocol, TypeVar

from wazn.engine.engine import Engine
from wazn.engine.plan import Plan
from wazn.engine.request import Increment
from wazn.errors import EngineFailed

Result = TypeVar("Result")

INTERRUPT_CHECK_S = 0.2


class Sink(Protocol):
    """Takes what becomes of one request; called in the runner's thread, so it must be quick."""

    def push(self, increment: Increment) -> None: ...
    def fail(self, error: EngineFailed) -> None: ...


class Runner:
    """Steps an engine while anything sent to it is unfinished."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._sinks: dict[str, Sink] = {}
        self._unfinished: dict[str, int] = {}  # request id → completions without a finish reason
        self._is_closed = False
        self._closing = Lock()  # nothing may be ordered after the last order
        self._thread = Thread(target=self._run, name="wazn engine", daemon=True)
        self._thread.start()

    def submit(self, plan: Plan, sink: Sink) -> None:
        """Serve a checked request; its increments, or one error, go to ``sink``."""
        self._order(lambda: self._accept(plan, sink))

    def cancel(self, request_id: str) -> None:
        """End a request before the next step; safe anywhere, in finalisers too, and never waits."""
        self._orders.put(lambda: self._engine.cancel(request_id))

    def call(self, work: Callable[[], Result]) -> Result:
        """The result of ``work``, done between two steps."""
        call = _Call(work)
        self._order(call.run)
        return call.result()

    def close(self) -> None:
        """Stop after the step that is running; what is unfinished fails."""
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._orders.put(None)
        if current_thread() is not self._thread:  # a finaliser may run in any thread
            self._thread.join()

    def _order(self, order: Callable[[], None]) -> None:
        with self._closing:
            if self._is_closed:
                raise EngineFailed("this model has been closed. Load it again.")
            self._orders.put(order)

    def _run(self) -> None:
        is_running = True
        while is_running:
            try:
                is_running = self._work()
            except Exception as error:
                self._fail(error)
        self._fail(EngineFailed("the model was closed while the request was running."))

    def _work(self) -> bool:
        """Carry out one order, or a step if there is none; False after the last order."""
        try:
            order = self._orders.get(block=not self._sinks)
        except Empty:
            self._step()
            return True
        if order is not None:
            order()
        return order is not None

    def _accept(self, plan: Plan, sink: Sink) -> None:
        self._sinks[plan.request.id] = sink
        self._unfinished[plan.request.id] = plan.request.params.n
        self._engine.accept(plan)

    def _step(self) -> None:
        for increment in self._engine.step():
            request_id = increment.request_id
            self._sinks[request_id].push(increment)
            if increment.finish_reason is not None:
                self._unfinished[request_id] -= 1
                if not self._unfinished[request_id]:
                    del self._sinks[request_id], self._unfinished[request_id]

    def _fail(self, error: Exception) -> None:
        """Tell every open request; each reader gets an exception of its own to raise."""
        for sink in self._sinks.values():
            failure = EngineFailed(str(error))
            failure.__cause__ = error
            sink.fail(failure)
        self._sinks.clear()
        self._unfinished.clear()


class _Call(Generic[Result]):
    """Work handed to another thread, and its outcome handed back."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._outcome: SimpleQueue[Callable[[], Result]] = SimpleQueue()

    def run(self) -> None:
        try:
            value = self._work()
            self._outcome.put(lambda: value)
        except Exception as error:
            self._outcome.put(_raiser(error))

    def result(self) -> Result:
        return wait_for(self._outcome)()


def _raiser(error: Exception) -> Callable[[], NoReturn]:
    def raise_it() -> NoReturn:
        raise error

    return raise_it


def wait_for(queue: SimpleQueue[Result]) -> Result:
    """The next item of a queue, with the interrupts of a waiting main thread taken care of.

    An interrupt that comes just before the wait would only be seen after it, so it is cut short
    now and then. A queue, because an interrupted ``threading.Event`` can lose the interrupt.
    """
    while True:
        try:
            return queue.get(timeout=INTERRUPT_CHECK_S)
        except Empty:
            continue
