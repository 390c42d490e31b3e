"""The requests one worker holds, as the server sees them: opened, fed by the worker, closed.

Knows ids, the bound on open requests and how fast places become free; knows neither processes nor
sockets. A request keeps its place until the worker has had its last word on it, even when its
client is gone, so that the bound holds for the worker's memory too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from time import monotonic

from wazn.engine.protocol import Accepted, Cancelled, Reason, Rejected, TextIncrement, Token
from wazn.errors import BadRequest, BadTemplate, DoesNotFit, EngineFailed, WaznError

_SMOOTHING = 0.2  # weight of the newest gap between two finished requests

_ERRORS: dict[Reason, type[WaznError]] = {
    "bad_request": BadRequest,
    "does_not_fit": DoesNotFit,
    "bad_template": BadTemplate,
    "engine_failed": EngineFailed,
}


class QueueFull(WaznError):
    """The worker holds as many requests as it may; ``retry_after_s`` is when one should end."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Answer:
    """One request's answers (``n`` of them) while they are written; one reader, on the event loop.

    Iterating gives increments until every answer has its finish reason. What ends it early is
    raised: what the worker refused (BadRequest and its kin), or EngineFailed.
    """

    def __init__(self, request_id: str, num_answers: int, withdraw: Callable[[str], None]) -> None:
        self.id = request_id
        self.opened_at = monotonic()
        self._num_unfinished = num_answers
        self._withdraw = withdraw
        self._arrivals: asyncio.Queue[int | TextIncrement | WaznError | None] = asyncio.Queue()
        self._is_closed = False
        self._is_over = False

    async def accepted(self) -> int:
        """Waits until the worker has checked the request; the number of prompt tokens."""
        num_tokens = await self._arrivals.get()
        if isinstance(num_tokens, WaznError):
            raise num_tokens
        assert isinstance(num_tokens, int)
        return num_tokens

    async def __aiter__(self) -> AsyncIterator[TextIncrement]:
        while (arrival := await self._arrivals.get()) is not None:
            if isinstance(arrival, WaznError):
                raise arrival
            assert isinstance(arrival, TextIncrement)
            yield arrival

    def close(self) -> None:
        """The reader is gone: withdraws the request unless the worker has finished it."""
        if not self._is_over and not self._is_closed:
            self._withdraw(self.id)
        self._is_closed = True

    def feed(self, arrival: int | TextIncrement) -> bool:
        """Takes the number of prompt tokens or an increment; whether all answers are finished."""
        if not self._is_closed:
            self._arrivals.put_nowait(arrival)
        if isinstance(arrival, TextIncrement) and arrival.finish_reason is not None:
            self._num_unfinished -= 1
        return self._num_unfinished == 0

    def end(self, error: WaznError | None) -> None:
        """The worker has had its last word: nothing, or the error that ended the request."""
        self._is_over = True
        self._arrivals.put_nowait(error)


class OpenAnswers:
    """All open requests of one worker, at most ``limit``."""

    def __init__(self, limit: int, withdraw: Callable[[str], None]) -> None:
        self._limit = limit
        self._withdraw = withdraw
        self._answers: dict[str, Answer] = {}
        self._last_end = -math.inf
        self._mean_gap_s: float | None = None

    def __len__(self) -> int:
        return len(self._answers)

    def open(self, request_id: str, num_answers: int) -> Answer:
        """A new open request; QueueFull at the limit."""
        if len(self._answers) >= self._limit:
            retry_after_s = self._retry_after_s()
            raise QueueFull(
                f"{self._limit} requests are already open on this model, its maximum; try again "
                f"in about {retry_after_s} s.",
                retry_after_s,
            )
        answer = Answer(request_id, num_answers, self._withdraw)
        self._answers[request_id] = answer
        return answer

    def receive(self, message: Accepted | Rejected | Cancelled | Token) -> None:
        """Hands the worker's words to those they are for."""
        match message:
            case Accepted(id=request_id, prompt_tokens=prompt_tokens):
                self._feed(request_id, prompt_tokens)
            case Rejected(id=request_id, reason=reason, message=text):
                self._end(request_id, _ERRORS[reason](text))
            case Cancelled(id=request_id):
                self._end(request_id, None)
            case Token(increments=increments):
                for increment in increments:
                    self._feed(increment.id, increment)

    def fail_all(self, error: WaznError) -> None:
        """Ends every open request with this error."""
        for request_id in list(self._answers):
            self._end(request_id, error)

    def _feed(self, request_id: str, arrival: int | TextIncrement) -> None:
        answer = self._answers.get(request_id)
        if answer is not None and answer.feed(arrival):
            self._end(request_id, None)

    def _end(self, request_id: str, error: WaznError | None) -> None:
        answer = self._answers.pop(request_id, None)
        if answer is None:  # it was over while the message travelled
            return
        now = monotonic()
        # Idle time is not waiting time: a gap starts when there was something to do.
        gap_s = now - max(self._last_end, answer.opened_at)
        mean_s = gap_s if self._mean_gap_s is None else self._mean_gap_s
        self._mean_gap_s = mean_s + _SMOOTHING * (gap_s - mean_s)
        self._last_end = now
        answer.end(error)

    def _retry_after_s(self) -> int:
        """When the next place should become free: the mean gap between two requests that ended.

        Before any has ended, the age of the oldest: they take at least this long.
        """
        expected_s = self._mean_gap_s
        if expected_s is None:
            expected_s = monotonic() - min(a.opened_at for a in self._answers.values())
        return max(1, math.ceil(expected_s))
