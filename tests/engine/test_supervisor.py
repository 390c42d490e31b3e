"""The server's side of a worker: faults of the worker, and what requests see of them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.server.serve_fake import FAKE_WORKER
from wazn.engine.answers import QueueFull
from wazn.engine.params import SamplingParams
from wazn.engine.protocol import PROTOCOL_VERSION, Load, TextIncrement
from wazn.engine.supervisor import Supervisor, Unavailable, WorkerSettings
from wazn.errors import EngineFailed
from wazn.server.served_models import ServedModels

HELLO = [{"role": "user", "content": "hello there"}]
STRANGE_WORKER = """
import sys, time, zmq, msgspec
socket = zmq.Context().socket(zmq.PAIR)
socket.connect(sys.argv[2])
socket.send({})
time.sleep(60)
"""


def strange_worker(frame: bytes) -> tuple[str, ...]:
    """A worker that says one thing and then nothing."""
    return (sys.executable, "-c", STRANGE_WORKER.format(repr(frame)), "strange")


def with_worker(
    scenario: Callable[[Supervisor], Awaitable[None]],
    command: tuple[str, ...] = FAKE_WORKER,
    model: str = "fake",
    **settings: float,
) -> None:
    """Runs a scenario with the supervisor of one worker."""

    async def run() -> None:
        worker_settings = WorkerSettings(command, backoff_s=0.05, **settings)  # type: ignore[arg-type]
        models = ServedModels([Load(PROTOCOL_VERSION, model)], worker_settings)
        async with models:
            await scenario(models.find(model))

    asyncio.run(run())


async def said(supervisor: Supervisor, text: str) -> str:
    answer = supervisor.open([{"role": "user", "content": text}], SamplingParams(), {})
    await answer.accepted()
    return "".join([increment.text async for increment in answer])


def test_a_conversation_is_answered() -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.until_ready()
        assert await said(supervisor, "hello there") == " hello there"

    with_worker(scenario)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"\x82\xa4type\xa5hello\xa8protocol\x63", "version 99 of the worker protocol"),
        (b"\x81\xa4type\xa5salut", "not of version"),
        (b"\xff\xff", "not of version"),
    ],
)
def test_a_worker_of_another_version_is_refused(frame: bytes, message: str) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        with pytest.raises(EngineFailed, match=message):
            await supervisor.until_ready()
        assert supervisor.state == "stopped"

    with_worker(scenario, strange_worker(frame))


def test_a_model_that_cannot_be_loaded_is_the_workers_own_sentence() -> None:
    async def scenario(supervisor: Supervisor) -> None:
        with pytest.raises(EngineFailed, match=r"^the file 'broken' has no header\.$"):
            await supervisor.until_ready()

    with_worker(scenario, model="broken")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ((sys.executable, "-c", "exit(3)"), "ended with status 3 while it was loading the model"),
        (
            (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"),
            "signal 9 while it was loading .* memory runs out",
        ),
        (("/nowhere/python",), "could not be started: .*No such file"),
    ],
)
def test_a_worker_that_never_speaks_is_explained(command: tuple[str, ...], message: str) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        with pytest.raises(EngineFailed, match=message):
            await supervisor.until_ready()

    with_worker(scenario, command)


def test_a_worker_that_hangs_is_replaced() -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.until_ready()
        first = supervisor.worker_pid
        with pytest.raises(Unavailable, match="is being restarted"):
            await said(supervisor, "freeze")
        while supervisor.state != "ready":
            await asyncio.sleep(0.02)
        assert supervisor.worker_pid != first
        assert await said(supervisor, "hello") == " hello"

    with_worker(scenario, health_interval_s=0.1, unresponsive_s=0.4)


def test_a_worker_that_is_busy_but_answers_is_left_alone() -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.until_ready()
        first = supervisor.worker_pid
        await said(supervisor, "slow 60")
        await asyncio.sleep(0.6)
        assert supervisor.worker_pid == first

    with_worker(scenario, health_interval_s=0.1, unresponsive_s=0.4)


def test_a_place_is_free_only_when_the_worker_confirms() -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.until_ready()
        answer = supervisor.open(HELLO, SamplingParams(), {})
        answer.close()
        answer.close()
        with pytest.raises(QueueFull, match="1 requests are already open"):
            supervisor.open(HELLO, SamplingParams(), {})
        text = None
        while text is None:
            with contextlib.suppress(QueueFull):
                text = await said(supervisor, "hello")
            await asyncio.sleep(0.02)
        assert text == " hello"

    with_worker(scenario, max_open_requests=1)


def test_closing_ends_what_is_open() -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.until_ready()
        answer = supervisor.open(HELLO, SamplingParams(), {})
        await supervisor.close()
        with pytest.raises(Unavailable, match="shutting down"):
            await answer.accepted()
        with pytest.raises(Unavailable, match="shutting down"):
            supervisor.open(HELLO, SamplingParams(), {})

    with_worker(scenario)


def test_an_increment_for_every_answer_arrives() -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.until_ready()
        answer = supervisor.open(HELLO, SamplingParams(n=2), {})
        assert await answer.accepted() == 2
        increments: list[TextIncrement] = [increment async for increment in answer]
        assert {increment.index for increment in increments} == {0, 1}
        assert [i.finish_reason for i in increments].count("stop") == 2

    with_worker(scenario)


def test_the_folder_of_the_sockets_is_private_and_goes_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.until_ready()
        (directory,) = tmp_path.iterdir()
        assert directory.stat().st_mode & 0o777 == 0o700

    with_worker(scenario)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_name_is_too_long_for_a_socket_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))

    async def scenario(supervisor: Supervisor) -> None:
        with pytest.raises(EngineFailed, match="set TMPDIR"):
            await supervisor.until_ready()

    with_worker(scenario)
