"""Starting and stopping the server process of ``serve_fake``, and asking it things."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import httpx
import msgspec
from openai import OpenAI

from tests.server.serve_fake import Options

SCRIPT = str(Path(__file__).with_name("serve_fake.py"))


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    address: str
    http: httpx.Client

    def client(self, api_key: str = "unused") -> OpenAI:
        """The official client, which here never asks twice."""
        return OpenAI(base_url=f"{self.address}/v1", api_key=api_key, max_retries=0, timeout=20)

    def post(self, body: Any, **options: Any) -> httpx.Response:
        """POST /v1/chat/completions with a JSON value, or bytes as they are."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return self.http.post("/v1/chat/completions", content=content, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET, with a short time limit: what is only read does not wait for anything."""
        return self.http.get(path, timeout=5, **options)

    def worker_pids(self) -> list[int]:
        """The server's child processes."""
        pid = self.process.pid
        threads = Path(f"/proc/{pid}/task").iterdir()
        return [int(child) for thread in threads for child in _words(thread / "children")]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and waits; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(20)


def _words(path: Path) -> list[str]:
    return path.read_text().split()


@contextmanager
def running(options: Options, *, until_ready: bool = True) -> Iterator[Server]:
    """A server for the length of a ``with`` block."""
    command = [sys.executable, SCRIPT, msgspec.json.encode(options).decode()]
    with (
        TemporaryDirectory() as folder,  # short enough for a socket, and gone whatever happens
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": folder}
        ) as process,
    ):
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if until_ready:
                assert process.stdout.readline() == "ready\n"
            with httpx.Client(base_url=address, timeout=20) as http:
                yield Server(process, address, http)
        finally:
            process.kill()


def ask(text: str, **fields: Any) -> dict[str, Any]:
    """The body of a request to the fake model."""
    return {"model": "fake", "messages": [{"role": "user", "content": text}], **fields}


def eventually(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Waits for a condition that becomes true by itself."""
    deadline = monotonic() + timeout_s
    while not condition():
        assert monotonic() < deadline, "it did not happen in time"
        sleep(0.02)
