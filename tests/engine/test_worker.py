"""The worker's loop, with the test as its server and a fake model behind it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import sleep

import pytest
import zmq

from tests.server.fake_llm import FakeLLM
from tests.server.serve_fake import FAKE_WORKER
from wazn.engine.params import SamplingParams
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
    Rejected,
    ServerMessage,
    Submit,
    Token,
    WorkerMessage,
    decode_worker_message,
    encode,
)
from wazn.engine.worker import open_llm, serve

ANSWER_MS = 10_000


class Peer:
    """The server's end of the connection."""

    def __init__(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        self._socket = socket
        self.endpoint = endpoint

    def send(self, message: ServerMessage) -> None:
        self._socket.send(encode(message))

    def receive(self) -> WorkerMessage:
        assert self._socket.poll(ANSWER_MS), "the worker said nothing"
        return decode_worker_message(self._socket.recv())

    def is_silent(self, duration_ms: int) -> bool:
        return not self._socket.poll(duration_ms)

    def submit(self, request_id: str, text: str, params: SamplingParams | None = None) -> None:
        messages = [{"role": "user", "content": text}]
        self.send(Submit(request_id, messages, params or SamplingParams(), {}))

    def greet(self, model: str = "fake") -> None:
        assert self.receive() == Hello(PROTOCOL_VERSION)
        self.send(Load(PROTOCOL_VERSION, model))


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A socket for one worker, in a private folder with a short name."""
    with (
        tempfile.TemporaryDirectory(prefix="wazn-") as directory,
        zmq.Context() as context,
        context.socket(zmq.PAIR) as socket,
    ):
        socket.linger = 0
        endpoint = f"ipc://{directory}/worker.sock"
        socket.bind(endpoint)
        yield Peer(socket, endpoint)


@contextmanager
def working(peer: Peer) -> Iterator[Peer]:
    """A worker in a thread, ready; drained at the end."""
    thread = Thread(target=serve, args=(peer.endpoint, FakeLLM))
    thread.start()
    peer.greet()
    assert peer.receive() == Ready()
    try:
        yield peer
    finally:
        peer.send(Drain())
        while peer.receive() != Drained():
            pass
        thread.join()


@contextmanager
def worker_process(peer: Peer) -> Iterator[subprocess.Popen[str]]:
    command = [*FAKE_WORKER, peer.endpoint, str(os.getpid())]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def complaint_of(process: subprocess.Popen[str]) -> str:
    assert process.wait(10) == 1
    assert process.stderr is not None
    return process.stderr.read()


def text_until_finished(peer: Peer, request_id: str) -> str:
    text = ""
    while True:
        message = peer.receive()
        assert isinstance(message, Token)
        for increment in message.increments:
            assert increment.id == request_id
            text += increment.text
            if increment.finish_reason is not None:
                assert increment.usage is not None
                return text


def test_a_request_is_accepted_and_answered_in_increments(peer: Peer) -> None:
    with working(peer):
        peer.submit("a", "one two three")
        assert peer.receive() == Accepted("a", 3)
        assert text_until_finished(peer, "a") == " one two three"


def test_requests_are_answered_together(peer: Peer) -> None:
    with working(peer):
        peer.submit("a", "slow 100")
        peer.submit("b", "slow 100")
        seen = [peer.receive() for _ in range(20)]
    together = [m for m in seen if isinstance(m, Token) and len(m.increments) == 2]
    assert {increment.id for increment in together[0].increments} == {"a", "b"}


def test_a_request_that_cannot_be_prepared_is_rejected_with_its_reason(peer: Peer) -> None:
    with working(peer):
        for text, reason in [
            ("long 5000", "does_not_fit"),
            ("template", "bad_template"),
            ("", "bad_request"),
        ]:
            peer.submit("a", text)
            message = peer.receive()
            assert isinstance(message, Rejected)
            assert (message.id, message.reason) == ("a", reason)
        peer.submit("a", "hello")
        assert peer.receive() == Accepted("a", 1)


def test_a_cancelled_request_has_no_word_after_the_last(peer: Peer) -> None:
    with working(peer):
        peer.submit("a", "slow 100000")
        assert peer.receive() == Accepted("a", 2)
        assert isinstance(peer.receive(), Token)
        peer.send(Cancel("a"))
        while isinstance(message := peer.receive(), Token):
            pass
        assert message == Cancelled("a")
        assert peer.is_silent(100)


def test_a_request_cancelled_while_it_is_prepared_never_starts(peer: Peer) -> None:
    with working(peer):
        peer.submit("a", "ponder 1")
        peer.submit("b", "ponder 60")  # withdrawn before its turn: nobody waits a minute
        peer.send(Cancel("b"))
        assert peer.receive() == Cancelled("b")
        peer.send(Cancel("a"))
        assert peer.receive() == Cancelled("a")
        peer.submit("c", "cancelled")
        assert peer.receive() == Accepted("c", 1)
        assert text_until_finished(peer, "c") == " 0 cancelled"


def test_cancelling_what_is_unknown_or_over_is_confirmed(peer: Peer) -> None:
    with working(peer):
        peer.send(Cancel("nothing"))
        assert peer.receive() == Cancelled("nothing")


def test_health_reports_the_open_requests(peer: Peer) -> None:
    with working(peer):
        peer.send(Health())
        assert peer.receive() == HealthReport(0)
        peer.submit("a", "slow 100")
        assert peer.receive() == Accepted("a", 2)
        peer.send(Health())
        while isinstance(message := peer.receive(), Token):
            pass
        assert message == HealthReport(1)


def test_draining_finishes_what_is_open(peer: Peer) -> None:
    with worker_process(peer) as process:
        peer.greet()
        assert peer.receive() == Ready()
        peer.submit("a", "slow 30")
        peer.submit("b", "ponder 0.2")
        peer.send(Drain())
        finished = set()
        while (message := peer.receive()) != Drained():
            if isinstance(message, Token):
                finished |= {i.id for i in message.increments if i.finish_reason}
        assert finished == {"a", "b"}
        assert process.wait(10) == 0


def test_a_server_of_another_version_is_refused(peer: Peer) -> None:
    with worker_process(peer) as process:
        assert peer.receive() == Hello(PROTOCOL_VERSION)
        peer.send(Load(PROTOCOL_VERSION + 1, "fake"))
        assert f"version {PROTOCOL_VERSION + 1} of the worker protocol" in complaint_of(process)


def test_a_server_that_does_not_say_what_to_load_is_refused(peer: Peer) -> None:
    with worker_process(peer) as process:
        assert peer.receive() == Hello(PROTOCOL_VERSION)
        peer.send(Drain())
        assert "first message is Drain" in complaint_of(process)


def test_a_second_load_ends_the_worker(peer: Peer) -> None:
    with worker_process(peer) as process:
        peer.greet()
        assert peer.receive() == Ready()
        peer.send(Load(PROTOCOL_VERSION, "fake"))
        assert "a second model" in complaint_of(process)


def test_a_model_that_cannot_be_loaded_is_a_sentence(peer: Peer) -> None:
    with worker_process(peer) as process:
        peer.greet("broken")
        assert peer.receive() == LoadFailed("the file 'broken' has no header.")
        assert complaint_of(process) == "wazn worker: the file 'broken' has no header.\n"


def test_a_worker_whose_server_is_already_gone_does_not_start(peer: Peer) -> None:
    command = [*FAKE_WORKER, peer.endpoint, "1" if os.getpid() != 1 else "2"]
    finished = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=10, check=False)
    assert finished.returncode == 1
    assert "is gone" in finished.stderr


def test_an_idle_worker_sleeps(peer: Peer) -> None:
    with worker_process(peer) as process:
        peer.greet()
        assert peer.receive() == Ready()
        before = cpu_seconds(process.pid)
        sleep(0.5)
        assert cpu_seconds(process.pid) - before < 0.1


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_module_is_a_program(peer: Peer) -> None:
    command = [sys.executable, "-P", "-m", "wazn.engine.worker", peer.endpoint, str(os.getpid())]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        peer.greet("/nowhere/at-all.gguf")
        message = peer.receive()
        assert isinstance(message, LoadFailed) and "/nowhere/at-all.gguf" in message.message
        assert "wazn worker:" in complaint_of(process)


def test_a_model_is_loaded_as_the_server_says(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[object, dict[str, object]]] = []
    monkeypatch.setattr("wazn.engine.llm.LLM", lambda model, **how: given.append((model, how)))
    options = {"threads": 3, "context": 99, "precision": "exact", "kv": "int8", "weights": "q4"}
    open_llm(Load(PROTOCOL_VERSION, "tiny", memory_bytes=7, **options))  # type: ignore[arg-type]
    assert given == [("tiny", {**options, "memory": 7, "pin": False})]
