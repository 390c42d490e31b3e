"""Starts the worker process of one model, talks to it, and starts another when it dies.

Knows the worker's life (loading, ready, restarting, draining, stopped) and its messages; the
requests themselves are in ``answers``. Knows no HTTP. Everything here runs on one event loop and
never blocks it. A worker that could not load the first time is not started again: whoever asked
to serve this model hears why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Literal
from uuid import uuid4

from wazn.engine.answers import Answer, OpenAnswers
from wazn.engine.channel import Channel, Context
from wazn.engine.params import SamplingParams
from wazn.engine.protocol import (
    Accepted,
    Cancel,
    Cancelled,
    Drain,
    Health,
    Hello,
    Load,
    LoadFailed,
    Ready,
    Rejected,
    Submit,
    Token,
    check_version,
    decode_worker_message,
)
from wazn.errors import EngineFailed, StorageError

_LAST_WORDS_S = 0.1  # what a dead worker had sent takes a moment to come out of the socket

_log = logging.getLogger("wazn.supervisor")


class Unavailable(EngineFailed):
    """The model does not answer at present; ``retry_after_s`` is when it should again."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker is run; ``command`` gets the endpoint and the server's process id appended.

    ``unresponsive_s`` is long because one step may be: 256 rows of a 70-billion-weight model take
    minutes on two cores.
    """

    command: tuple[str, ...] = (sys.executable, "-P", "-m", "wazn.engine.worker")
    max_open_requests: int = 64
    backoff_s: float = 1.0
    max_backoff_s: float = 60.0
    health_interval_s: float = 10.0
    unresponsive_s: float = 900.0


@dataclass(slots=True)
class _Worker:
    """One worker process, its connection, and what it was heard to say."""

    channel: Channel
    process: asyncio.subprocess.Process
    failure: asyncio.Future[EngineFailed]
    started_at: float = field(default_factory=monotonic)
    heard_at: float = field(default_factory=monotonic)
    ready_at: float = math.inf


class Supervisor:
    """The server's side of one served model; starts its worker at once, on the running loop."""

    def __init__(
        self, name: str, load: Load, directory: Path, context: Context, settings: WorkerSettings
    ) -> None:
        self.name = name
        self.state: Literal["loading", "ready", "restarting", "draining", "stopped"] = "loading"
        self._load = load
        self._directory = directory
        self._context = context
        self._settings = settings
        self._answers = OpenAnswers(settings.max_open_requests, self._withdraw)
        self._worker: _Worker | None = None
        self._first_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._backoff_s = settings.backoff_s
        self._started_at = monotonic()
        self._available_at = math.inf  # unknown while the first worker loads
        self._load_s = 0.0  # what the last load took
        self._life = asyncio.create_task(self._live())

    @property
    def worker_pid(self) -> int | None:
        """The process id of the present worker."""
        return self._worker.process.pid if self._worker else None

    async def until_ready(self) -> None:
        """Waits for the first worker; EngineFailed with its own sentence if it cannot load."""
        await asyncio.shield(self._first_ready)

    def open(
        self, messages: list[dict[str, str]], params: SamplingParams, variables: dict[str, Any]
    ) -> Answer:
        """Submits a conversation; Unavailable or QueueFull if the worker cannot take it now."""
        if self.state != "ready" or self._worker is None:
            raise self._unavailable()
        request_id = uuid4().hex
        answer = self._answers.open(request_id, params.n)
        self._worker.channel.send(Submit(request_id, messages, params, variables))
        return answer

    async def drain(self, timeout_s: float) -> None:
        """Takes no new request, lets the open ones finish for so long, and ends the worker."""
        was_ready = self.state == "ready"
        self.state = "draining"
        self._available_at = monotonic() + timeout_s
        if was_ready and self._worker is not None:
            self._worker.channel.send(Drain())
            await asyncio.wait([self._life], timeout=timeout_s)
        await self.close()

    async def close(self) -> None:
        """Ends the worker at once; open requests end with Unavailable."""
        self.state = "stopped"
        self._answers.fail_all(self._unavailable())
        self._life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._life
        if not self._first_ready.done():
            self._first_ready.set_exception(self._unavailable())
        self._first_ready.exception()  # looked at, so that asyncio does not complain

    async def _live(self) -> None:
        while True:
            error = await self._run_worker()
            if self.state in ("draining", "stopped"):
                break
            if not self._first_ready.done():
                self.state = "stopped"
                self._first_ready.set_exception(error)
                break
            self._available_at = monotonic() + self._backoff_s + self._load_s
            self.state = "restarting"
            _log.warning("%s Another is started in %g s.", error, self._backoff_s)
            self._answers.fail_all(self._unavailable())
            await asyncio.sleep(self._backoff_s)
            self._backoff_s = min(2 * self._backoff_s, self._settings.max_backoff_s)

    async def _run_worker(self) -> EngineFailed:
        """Runs one worker process to its end, and tells why it ended."""
        path = self._directory / f"{uuid4().hex[:8]}.sock"
        try:
            with contextlib.closing(Channel(path, self._context)) as channel:
                self._worker = await self._start_worker(channel)
                channel.listen(self._hear)
                return await self._until_the_end(self._worker)
        except (OSError, StorageError) as error:
            return EngineFailed(f"the worker of '{self.name}' could not be started: {error}.")
        finally:
            if self._worker and monotonic() - self._worker.ready_at > self._settings.max_backoff_s:
                self._backoff_s = self._settings.backoff_s  # it had been well for long enough
            self._worker = None

    async def _start_worker(self, channel: Channel) -> _Worker:
        process = await asyncio.create_subprocess_exec(
            *self._settings.command,
            channel.endpoint,
            str(os.getpid()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=2,  # the server's own output is for programs
            start_new_session=True,  # Ctrl-C in the terminal is for the server alone
        )
        failure: asyncio.Future[EngineFailed] = asyncio.get_running_loop().create_future()
        return _Worker(channel, process, failure)

    async def _until_the_end(self, worker: _Worker) -> EngineFailed:
        exited = asyncio.create_task(worker.process.wait())
        watch = asyncio.create_task(self._watch(worker))
        try:
            ends: set[asyncio.Future[Any]] = {exited, watch, worker.failure}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if exited.done():
                await asyncio.sleep(_LAST_WORDS_S)
        finally:
            watch.cancel()
            if worker.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(worker.process.pid, signal.SIGKILL)  # with what it has started
            status = await exited
        if worker.failure.done():
            return worker.failure.result()
        return self._obituary(status)

    async def _watch(self, worker: _Worker) -> None:
        """Asks for signs of life; the worker has failed when it gives none for too long."""
        while not worker.failure.done():
            await asyncio.sleep(self._settings.health_interval_s)
            if worker.ready_at == math.inf:  # loading takes as long as it takes
                continue
            silent_s = monotonic() - worker.heard_at
            if silent_s > self._settings.unresponsive_s:
                text = f"the worker of '{self.name}' gave no sign of life for {silent_s:.0f} s."
                worker.failure.set_result(EngineFailed(text))
            worker.channel.send(Health())

    def _hear(self, frame: bytes) -> None:
        worker = self._worker
        if worker is None or worker.failure.done():
            return
        worker.heard_at = monotonic()
        try:
            self._handle(worker, frame)
        except EngineFailed as error:
            worker.failure.set_result(error)

    def _handle(self, worker: _Worker, frame: bytes) -> None:
        match decode_worker_message(frame):
            case Hello(protocol=protocol):
                check_version("worker", protocol)
                worker.channel.send(self._load)
            case Ready():
                worker.ready_at = monotonic()
                self._load_s = worker.ready_at - worker.started_at
                if self.state in ("loading", "restarting"):
                    self.state = "ready"
                if not self._first_ready.done():
                    self._first_ready.set_result(None)
            case LoadFailed(message=text):
                raise EngineFailed(text)
            case (Accepted() | Rejected() | Cancelled() | Token()) as message:
                self._answers.receive(message)

    def _withdraw(self, request_id: str) -> None:
        if self._worker is not None:
            self._worker.channel.send(Cancel(request_id))

    def _obituary(self, status: int) -> EngineFailed:
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        when = "" if self._first_ready.done() else " while it was loading the model"
        hint = ""
        if status == -signal.SIGKILL:
            hint = " The system does this when memory runs out: see --memory and --context."
        return EngineFailed(f"the worker of '{self.name}' {how}{when}.{hint}")

    def _retry_after_s(self) -> int:
        now = monotonic()
        if (
            self._available_at == math.inf
        ):  # loading: as long again as it has taken, for all we know
            return max(1, math.ceil(now - self._started_at))
        return max(1, math.ceil(self._available_at - now))

    def _unavailable(self) -> Unavailable:
        retry_after_s = self._retry_after_s()
        what = {
            "loading": f"the model '{self.name}' is still being loaded",
            "restarting": f"the worker of '{self.name}' has stopped and is being restarted",
        }.get(self.state, "the server is shutting down")
        return Unavailable(f"{what}; try again in about {retry_after_s} s.", retry_after_s)
