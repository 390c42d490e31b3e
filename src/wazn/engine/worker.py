"""The worker process: one model, one engine, one socket to the server that started it.

    python -m wazn.engine.worker ENDPOINT SERVER_PID

The loop reads what has arrived, runs one engine step while there is work, sends what the step
wrote, and sleeps on its sockets otherwise. Knows no HTTP. A fault of one request is answered; a
fault of the engine ends the process, and the server starts another one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import zmq

from wazn.engine.preparation import Preparation
from wazn.engine.protocol import (
    PROTOCOL_VERSION,
    Accepted,
    Cancel,
    Cancelled,
    Drain,
    Drained,
    Health,
    HealthReport,
    Hello,
    Load,
    LoadFailed,
    Ready,
    Reason,
    Rejected,
    ScoredToken,
    ServerMessage,
    Submit,
    TextIncrement,
    Token,
    TokenText,
    WorkerMessage,
    check_version,
    decode_server_message,
    encode,
)
from wazn.errors import BadRequest, BadTemplate, DoesNotFit, EngineFailed, WaznError

if TYPE_CHECKING:
    from wazn.engine.params import SamplingParams
    from wazn.engine.request import Increment, Request, TokenLogprob

HANDSHAKE_MS = 30_000
LINGER_MS = 1_000  # for the last message; the server reads at once or is gone
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class WorkerEngine(Protocol):
    """What the loop needs of ``wazn.engine.engine.Engine``."""

    @property
    def has_work(self) -> bool: ...
    def submit(self, request: Request) -> None: ...
    def cancel(self, request_id: str) -> None: ...
    def step(self) -> list[Increment]: ...


class WorkerTokenizer(Protocol):
    """What the loop needs of a tokenizer: the bytes behind an id."""

    def token_bytes(self, token_id: int, /) -> bytes: ...


class WorkerLLM(Protocol):
    """What the loop needs of ``wazn.LLM``."""

    @property
    def engine(self) -> WorkerEngine: ...
    @property
    def tokenizer(self) -> WorkerTokenizer: ...
    def prepare(
        self, prompt: Sequence[dict[str, str]], params: SamplingParams, /, **variables: Any
    ) -> Request: ...
    def close(self) -> None: ...


class Worker:
    """The loop over one loaded model."""

    def __init__(
        self, llm: WorkerLLM, socket: zmq.Socket[bytes], context: zmq.Context[zmq.Socket[bytes]]
    ) -> None:
        self._llm = llm
        self._socket = socket
        self._preparation = Preparation(self._prepare, context)
        self._unfinished: dict[str, int] = {}  # request id → answers without a finish reason
        self._is_draining = False
        self._poller = zmq.Poller()
        self._poller.register(socket, zmq.POLLIN)
        self._poller.register(self._preparation.waker, zmq.POLLIN)

    def run(self) -> None:
        """Serves until the server has sent ``Drain`` and all open requests are finished."""
        try:
            while not self._is_draining or self._preparation.pending or self._unfinished:
                has_work = self._llm.engine.has_work
                self._poller.poll(0 if has_work else None)
                self._receive()
                if self._llm.engine.has_work:
                    self._send_increments(self._llm.engine.step())
            self._send(Drained())
        finally:
            self._preparation.close()

    def _receive(self) -> None:
        while self._socket.poll(0):
            self._handle(decode_server_message(self._socket.recv()))
        for submission, prepared in self._preparation.results():
            self._submit(submission, prepared)

    def _handle(self, message: ServerMessage) -> None:
        match message:
            case Submit():
                self._preparation.add(message)
            case Cancel(id=request_id):
                self._cancel(request_id)
            case Health():
                open_requests = len(self._preparation.pending) + len(self._unfinished)
                self._send(HealthReport(open_requests))
            case Drain():
                self._is_draining = True
            case Load():
                raise EngineFailed("the server asked this worker to load a second model.")

    def _prepare(self, submission: Submit) -> Request:
        request = self._llm.prepare(
            submission.messages, submission.params, **submission.template_variables
        )
        return replace(request, id=submission.id)

    def _submit(self, submission: Submit, prepared: Request | Exception) -> None:
        try:
            if isinstance(prepared, Exception):
                raise prepared
            self._llm.engine.submit(prepared)
        except Exception as error:
            self._send(_rejection(submission.id, error))
            return
        self._unfinished[submission.id] = submission.params.n
        self._send(Accepted(submission.id, len(prepared.prompt_ids)))

    def _cancel(self, request_id: str) -> None:
        self._preparation.pending.discard(request_id)
        if self._unfinished.pop(request_id, None) is not None:
            self._llm.engine.cancel(request_id)
        self._send(Cancelled(request_id))

    def _send_increments(self, increments: list[Increment]) -> None:
        # A cancelled request may leave words behind; its last message has already been sent.
        wanted = [i for i in increments if i.request_id in self._unfinished]
        for increment in wanted:
            if increment.finish_reason is not None:
                self._unfinished[increment.request_id] -= 1
                if self._unfinished[increment.request_id] == 0:
                    del self._unfinished[increment.request_id]
        if wanted:
            self._send(Token([_on_the_wire(i, self._llm.tokenizer) for i in wanted]))

    def _send(self, message: WorkerMessage) -> None:
        self._socket.send(encode(message))


def _rejection(request_id: str, error: Exception) -> Rejected:
    reasons: dict[type[WaznError], Reason] = {
        DoesNotFit: "does_not_fit",
        BadRequest: "bad_request",
        BadTemplate: "bad_template",
    }
    for kind, reason in reasons.items():
        if isinstance(error, kind):
            return Rejected(request_id, reason, str(error))
    traceback.print_exception(error)
    message = "the engine failed to prepare this request; the server's log has the details."
    return Rejected(request_id, "engine_failed", message)


def _on_the_wire(increment: Increment, tokenizer: WorkerTokenizer) -> TextIncrement:
    return TextIncrement(
        id=increment.request_id,
        index=increment.index,
        text=increment.text,
        reasoning=increment.reasoning,
        logprobs=None
        if increment.logprobs is None
        else [_scored(token, tokenizer) for token in increment.logprobs],
        finish_reason=increment.finish_reason,
        usage=increment.usage,
    )


def _scored(token: TokenLogprob, tokenizer: WorkerTokenizer) -> ScoredToken:
    def with_text(token_id: int, logprob: float) -> TokenText:
        raw = tokenizer.token_bytes(token_id)
        return TokenText(raw.decode("utf-8", "replace"), raw, logprob)

    top = [with_text(token_id, logprob) for token_id, logprob in token.top]
    return ScoredToken(with_text(token.id, token.logprob), top)


def open_llm(load: Load) -> WorkerLLM:
    """The real model; imported here, so that the handshake comes first."""
    from wazn.engine.llm import LLM

    return LLM(
        load.model,
        threads=load.threads,
        context=load.context,
        memory=load.memory_bytes,
        precision=load.precision,
        kv=load.kv,
        weights=load.weights,
        pin=load.cpus or False,
    )


def shake_hands(socket: zmq.Socket[bytes]) -> Load:
    """Says ``Hello`` and takes ``Load``; EngineFailed on silence or another protocol version."""
    socket.send(encode(Hello(PROTOCOL_VERSION)))
    if not socket.poll(HANDSHAKE_MS):
        raise EngineFailed(f"the server did not say what to load in {HANDSHAKE_MS // 1000} s.")
    message = decode_server_message(socket.recv())
    if not isinstance(message, Load):
        raise EngineFailed(f"the server's first message is {type(message).__name__}, not Load.")
    check_version("server", message.protocol)
    return message


def serve(endpoint: str, open_model: Callable[[Load], WorkerLLM]) -> None:
    """Connects, loads the model and serves it until drained; WaznError if it cannot be loaded."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as socket:
        socket.linger = LINGER_MS
        socket.connect(endpoint)
        load = shake_hands(socket)
        try:
            llm = open_model(load)
        except WaznError as error:
            socket.send(encode(LoadFailed(str(error))))
            raise
        try:
            socket.send(encode(Ready()))
            Worker(llm, socket, context).run()
        finally:
            llm.close()


def die_with(server_pid: int) -> None:
    """Has the kernel kill this process when the server ends, even inside a native call."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server_pid:  # it ended before the line above
        raise EngineFailed("the server that started this worker is gone.")


def main(open_model: Callable[[Load], WorkerLLM] = open_llm) -> int:
    """Entry of the process; arguments as in the module's first lines."""
    endpoint, server_pid = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which drains
    try:
        die_with(int(server_pid))
        serve(endpoint, open_model)
    except WaznError as error:
        print(f"wazn worker: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
