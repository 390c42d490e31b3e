"""Where the increments of a request go: gathered into completions, or streamed as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from queue import SimpleQueue
from typing import cast

from wazn.engine.plan import Plan
from wazn.engine.request import Completion, Increment, LogprobEntry
from wazn.engine.runner import Runner, wait_for
from wazn.errors import EngineFailed
from wazn.text.answers.events import joined_calls


class Gathering:
    """Gathers a request's increments in the engine's thread; wakes its reader once, at the end."""

    def __init__(self, plan: Plan) -> None:
        self._parts: list[list[Increment]] = [[] for _ in range(plan.request.params.n)]
        self._num_unfinished = len(self._parts)
        self._ending: SimpleQueue[EngineFailed | None] = SimpleQueue()

    def push(self, increment: Increment) -> None:
        self._parts[increment.index].append(increment)
        if increment.finish_reason is not None:
            self._num_unfinished -= 1
            if not self._num_unfinished:
                self._ending.put(None)

    def fail(self, error: EngineFailed) -> None:
        self._ending.put(error)

    def completions(self) -> list[Completion]:
        """Waits for the end, once; the completions in order of index, or the error."""
        error = wait_for(self._ending)
        if error is not None:
            raise error
        return [_joined(parts) for parts in self._parts]


def _joined(parts: list[Increment]) -> Completion:
    last = parts[-1]
    assert last.finish_reason is not None and last.usage is not None
    scored = [score for part in parts for score in part.logprobs or ()]
    has_scores = any(part.logprobs is not None for part in parts)
    return Completion(
        text="".join(part.text for part in parts),
        reasoning="".join(part.reasoning for part in parts),
        token_ids=[token_id for part in parts for token_id in part.token_ids],
        logprobs=[cast(LogprobEntry, asdict(score)) for score in scored] if has_scores else None,
        finish_reason=last.finish_reason,
        usage=last.usage,
        index=last.index,
        tool_calls=joined_calls(event for part in parts for event in part.calls),
    )


class Stream(Iterator[Increment]):
    """The increments of one request as they come; closing or dropping it cancels the request.

    Raises EngineFailed if the engine stops. Also a context manager.
    """

    def __init__(self, runner: Runner, plan: Plan) -> None:
        self._runner = runner
        self._request_id = plan.request.id
        self._num_unfinished = plan.request.params.n
        self._arrived: SimpleQueue[Increment | EngineFailed] = SimpleQueue()
        runner.submit(plan, _Inlet(self._arrived))

    def __next__(self) -> Increment:
        if not self._num_unfinished:
            raise StopIteration
        try:
            item = wait_for(self._arrived)
        except BaseException:  # an interrupt while waiting
            self.close()
            raise
        if isinstance(item, EngineFailed):
            self._num_unfinished = 0
            raise item
        if item.finish_reason is not None:
            self._num_unfinished -= 1
        return item

    def close(self) -> None:
        """End the request if it is not over; nothing more comes."""
        if self._num_unfinished:
            self._num_unfinished = 0
            self._runner.cancel(self._request_id)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_arrived"):  # else it was refused before it began
            self.close()


class _Inlet:
    """The engine's end of a stream; holds no reference to it, so that dropping it is noticed."""

    def __init__(self, arrived: SimpleQueue[Increment | EngineFailed]) -> None:
        self._arrived = arrived

    def push(self, increment: Increment) -> None:
        self._arrived.put(increment)

    def fail(self, error: EngineFailed) -> None:
        self._arrived.put(error)
