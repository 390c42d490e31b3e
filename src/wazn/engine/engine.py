"""The loop: one ``step()`` is one forward pass of everything that can run.

Submit requests, call ``step()`` while ``has_work``, hand out the increments. Knows no prompts as
text, no threads and no transport: one thread at a time may call it, ``check`` excepted.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Callable
from dataclasses import replace
from os import urandom
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from wazn.engine.admission import measure
from wazn.engine.batching import BatchBuilder
from wazn.engine.defaults import check_defaults, resolve
from wazn.engine.output import Piece
from wazn.engine.pages import PagePool, SlotPool
from wazn.engine.plan import Plan
from wazn.engine.request import FinishReason, Increment, Request
from wazn.engine.sampler import Choice, Sampler
from wazn.engine.scheduler import Scheduler
from wazn.engine.scoring import score_logits, score_mean_hidden
from wazn.engine.sequence import Sequence
from wazn.engine.served_model import ServedModel
from wazn.engine.writers import Writers
from wazn.errors import BadRequest, EngineFailed

Result = TypeVar("Result")


class Engine:
    """Serves one model, many requests at a time.

    ``context``: longest prompt with answer, in tokens; None is the model's maximum.
    ``memory_bytes``: budget of the KV cache; None is free memory minus 2 GiB. BadRequest for a
    context that the model does not have, DoesNotFit if the budget holds not even one page.
    """

    def __init__(
        self, model: ServedModel, context: int | None = None, memory_bytes: int | None = None
    ) -> None:
        self._model = model
        self._defaults = check_defaults(model.generation_defaults)
        self.limits = measure(model, context, memory_bytes)
        self._scheduler = Scheduler(
            PagePool(self.limits.num_pages), model.max_rows, SlotPool(self.limits.num_slots)
        )
        self._builder = BatchBuilder(model.max_rows)
        self._sampler = Sampler(model.pool)
        self.writers = Writers(model)
        self._open: dict[str, list[Sequence]] = {}  # request id → its unfinished completions
        self._last_words: list[Increment] = []  # of cancelled requests, told by the next step
        self._failure: str | None = None
        # One slot more than sequences have: that of a text outside of any request.
        model.open_cache(self.limits.num_pages, self.limits.num_slots + 1)

    @property
    def has_work(self) -> bool:
        """Whether ``step()`` has something to compute or to tell."""
        return bool(self._open or self._last_words)

    def check(self, request: Request) -> Plan:
        """Raise what ``submit`` would raise, but change nothing; any thread may call it."""
        if self._failure is not None:
            raise EngineFailed(self._failure)
        params = request.params
        prompt_ids = self.limits.check_ids(request.prompt_ids)
        self.limits.check_params(params)
        self.writers.check(request)
        own_stops = frozenset() if params.ignore_eos else self._model.stop_ids
        stop_ids = self.limits.known(own_stops.union(params.stop_token_ids or ()))
        self.limits.check_stops(stop_ids, params.min_tokens)
        return Plan(
            request=request,
            prompt_ids=prompt_ids,
            max_length=self.limits.max_length(len(prompt_ids), params.max_tokens),
            sampling=resolve(params, self._defaults),
            stop_ids=stop_ids,
            seed=int.from_bytes(urandom(8)) if params.seed is None else params.seed,
        )

    def submit(self, request: Request) -> None:
        """Accept a request; what is accepted is finished, unless it is cancelled.

        BadRequest for token ids outside the vocabulary or a request id in use, DoesNotFit with the
        figures for what could never fit, EngineFailed after a failure.
        """
        self.accept(self.check(request))

    def accept(self, plan: Plan) -> None:
        """Submit a request that ``check`` has passed; BadRequest for a request id in use."""
        request = plan.request
        if request.id in self._open:
            raise BadRequest(f"request id {request.id!r} is already being served.")
        self._open[request.id] = [
            Sequence(plan, index, self.writers.open(request), self.writers.budget(request))
            for index in range(request.params.n)
        ]
        for sequence in self._open[request.id]:
            self._scheduler.add(sequence)

    def cancel(self, request_id: str) -> None:
        """End a request; the next step says so. One that is unknown or over is ignored."""
        if request_id in self._open:
            self._last_words += self._guarded(lambda: self._cancelled(request_id))

    def step(self) -> list[Increment]:
        """Run one forward pass; the increments it made, at most one per completion.

        EngineFailed if the pass fails: every open request has then ended, and so has the engine.
        """
        increments, self._last_words = self._last_words, []
        return increments + self._guarded(self._run)

    def logits(self, token_ids: abc.Sequence[int]) -> NDArray[np.float32]:
        """Next-token logits after each of the tokens, (len(token_ids), vocab)."""
        ids = self._check_scored(token_ids)
        return self._guarded(lambda: score_logits(self._model, self._scheduler, ids))

    def mean_hidden(self, token_ids: abc.Sequence[int]) -> NDArray[np.float64]:
        """The mean over all tokens of their final-norm hidden states, (hidden,)."""
        ids = self._check_scored(token_ids)
        return self._guarded(lambda: score_mean_hidden(self._model, self._scheduler, ids))

    def _run(self) -> list[Increment]:
        slices = self._scheduler.schedule()
        if not slices:
            return []
        logits = self._model.forward(self._builder.build(slices))  # (complete slices, vocab)
        complete = [part.sequence for part in slices if part.is_complete]
        for part in slices:
            part.sequence.num_cached += part.num_rows
        choices = self._sampler.choose(logits, [sequence.sampling for sequence in complete])
        return [self._extend(*each) for each in zip(complete, choices, strict=True)]

    def _cancelled(self, request_id: str) -> list[Increment]:
        return [
            self._finish(sequence, Increment(request_id, sequence.index), "cancelled")
            for sequence in list(self._open[request_id])
        ]

    def _extend(self, sequence: Sequence, drawn: Choice) -> Increment:
        """Append the next token of a sequence."""
        plan = sequence.plan
        token_id, token_scores = sequence.append(drawn)
        scores = None if token_scores is None else (token_scores,)
        piece = Piece() if token_id in plan.stop_ids else sequence.writer.push(token_id)
        increment = Increment(
            plan.request.id,
            sequence.index,
            piece.text,
            piece.reasoning,
            piece.calls,
            token_ids=(token_id,),
            logprobs=scores,
        )
        if token_id in plan.stop_ids or sequence.writer.is_stopped:
            return self._finish(sequence, increment, "stop")
        if len(sequence.tokens) == plan.max_length:
            return self._finish(sequence, increment, "length")
        return increment

    def _finish(self, sequence: Sequence, last: Increment, reason: FinishReason) -> Increment:
        """Let go of a sequence; its last increment with all that was held back."""
        self._scheduler.remove(sequence)
        request_id = sequence.plan.request.id
        self._open[request_id].remove(sequence)
        if not self._open[request_id]:
            del self._open[request_id]
        held = sequence.writer.finish()
        return replace(
            last,
            text=last.text + held.text,
            reasoning=last.reasoning + held.reasoning,
            calls=last.calls + held.calls,
            finish_reason="stop" if sequence.writer.is_stopped else reason,
            usage=sequence.usage(),
        )

    def _check_scored(self, token_ids: abc.Sequence[int]) -> NDArray[np.int32]:
        ids = self.limits.check_ids(token_ids)
        self.limits.check_input(len(ids))
        return ids

    def _guarded(self, work: Callable[[], Result]) -> Result:
        """The result of work on the model, after whose failure nothing can be trusted any more."""
        if self._failure is not None:
            raise EngineFailed(self._failure)
        try:
            return work()
        except Exception as error:
            self._open.clear()
            self._last_words.clear()
            self._failure = (
                f"the engine has stopped: {type(error).__name__}: {error}. Load the model again."
            )
            raise EngineFailed(self._failure) from error
