"""How a server lives: load, overload, dead workers, draining, signals, and its end."""

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from openai import APIError

from tests.server.serve_fake import Options
from tests.server.serving import Server, ask, eventually, running
from wazn.errors import BadRequest
from wazn.server.listener import address_of, open_listener
from wazn.server.served_models import served_name


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_health_answers_while_eight_clients_and_a_long_request_are_served(server: Server) -> None:
    with ThreadPoolExecutor(9) as threads:
        long = threads.submit(server.post, ask("slow 150"))
        short = [threads.submit(server.post, ask(f"hello client {i}")) for i in range(8)]
        while not all(future.done() for future in (long, *short)):
            assert server.get("/health").status_code == 200
            assert server.get("/v1/models").status_code == 200
        answers = [future.result().json()["choices"][0]["message"]["content"] for future in short]
    assert answers == [f" hello client {i}" for i in range(8)]
    assert long.result().json()["usage"]["completion_tokens"] == 150


def test_preparing_a_prompt_does_not_stall_those_who_are_being_answered(server: Server) -> None:
    with ThreadPoolExecutor(1) as threads, server.client() as client:
        stream = client.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "slow 10000"}], stream=True
        )
        chunks = iter(stream)
        next(chunks)
        pondering = threads.submit(server.post, ask("ponder 0.5"))
        num_chunks = 0
        while not pondering.done():
            next(chunks)
            num_chunks += 1
        stream.close()
    assert num_chunks > 5


def test_beyond_the_most_open_requests_the_answer_is_429_with_a_time_to_wait() -> None:
    with running(Options(max_open_requests=2)) as server, server.client() as client:
        create: Any = client.chat.completions.create
        streams = [create(**ask("slow 100000", stream=True)) for _ in range(2)]
        refusal = server.post(ask("hello"))
        assert refusal.status_code == 429
        assert refusal.json()["error"]["code"] == "queue_full"
        assert int(refusal.headers["retry-after"]) >= 1
        for stream in streams:
            stream.close()
        eventually(lambda: server.post(ask("hello")).status_code == 200)


def test_a_killed_worker_is_answered_for_and_replaced() -> None:
    with running(Options()) as server, ThreadPoolExecutor(1) as threads:
        (pid,) = server.worker_pids()
        asked = threads.submit(server.post, ask("slow 10000"))
        sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        response = asked.result()
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "model_unavailable"
        assert int(response.headers["retry-after"]) >= 1
        assert server.get("/health").status_code == 200
        eventually(lambda: server.get("/ready").status_code == 200)
        assert server.post(ask("hello")).status_code == 200
        assert server.worker_pids() != [pid]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_is_running_finish_and_refuses_the_rest(number: signal.Signals) -> None:
    with running(Options()) as server, server.client() as client:
        create: Any = client.chat.completions.create
        stream = create(**ask("slow 150", stream=True))
        server.process.send_signal(number)
        eventually(lambda: server.get("/ready").status_code == 503)
        refusal = server.post(ask("hello"))
        assert refusal.status_code == 503
        assert int(refusal.headers["retry-after"]) >= 1
        assert server.get("/health").status_code == 200
        texts = [chunk.choices[0].delta.content for chunk in stream]
        assert texts[-1] == " word149"
        assert server.process.wait(5) == 0


def test_what_does_not_finish_in_time_is_told_so() -> None:
    with (
        running(Options(drain_s=0.3)) as server,
        server.client() as client,
        ThreadPoolExecutor(1) as threads,
    ):
        whole = threads.submit(server.post, ask("slow 100000"))
        create: Any = client.chat.completions.create
        stream = create(**ask("slow 100000", stream=True))
        (pid,) = server.worker_pids()
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(APIError, match="the server is shutting down"):
            list(stream)
        assert whole.result().status_code == 503
        assert server.process.wait(5) == 0
        assert not is_alive(pid)


def test_a_second_signal_ends_the_server_at_once() -> None:
    with running(Options(drain_s=60)) as server, server.client() as client:
        create: Any = client.chat.completions.create
        stream = create(**ask("slow 100000", stream=True))
        (pid,) = server.worker_pids()
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: server.get("/ready").status_code == 503)
        assert server.stop() == 0
        assert not is_alive(pid)
        with pytest.raises(APIError, match="the server is shutting down"):
            list(stream)


def test_a_worker_dies_with_its_server() -> None:
    with running(Options()) as server:
        (pid,) = server.worker_pids()
        server.stop(signal.SIGKILL)
        eventually(lambda: not is_alive(pid))


def test_while_a_model_is_loading_health_answers_and_requests_are_told_to_wait() -> None:
    with running(Options(models=["slow-to-load"]), until_ready=False) as server:
        assert server.get("/health").status_code == 200
        assert server.get("/ready").status_code == 503
        response = server.post(ask("hello") | {"model": "slow-to-load"})
        assert response.status_code == 503
        assert "still being loaded" in response.json()["error"]["message"]
        assert server.stop() == 0


def test_a_port_in_use_is_one_sentence() -> None:
    with open_listener("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(BadRequest, match=f"port {port} of 127.0.0.1 is in use"):
            open_listener("127.0.0.1", port)


def test_answers_are_not_held_back_for_acknowledgements() -> None:
    with open_listener("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # what asyncio looks at


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 70000, "--port 70000 is not a port"),
        ("192.0.2.1", 0, "cannot listen on 192.0.2.1"),
    ],
)
def test_an_address_that_cannot_be_had_is_one_sentence(host: str, port: int, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        open_listener(host, port)


def test_an_ipv6_address_is_written_in_brackets() -> None:
    with socket.socket(socket.AF_INET6) as listener:  # a bound one would need IPv6 on the machine
        assert address_of(listener) == "http://[::]:0"


def test_a_path_is_served_under_its_last_part_only(tmp_path: Path) -> None:
    model = tmp_path / "tiny.gguf"
    model.touch()
    assert served_name(str(model)) == "tiny.gguf"
    assert served_name("hf:org/name:Q4_0") == "hf:org/name:Q4_0"
