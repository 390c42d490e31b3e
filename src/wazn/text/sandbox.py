"""A killable helper process for what a foreign file makes us run: templates and patterns.

It starts when first needed, or ahead of that with ``warm``; it cannot open files or sockets, gets
an empty environment, and is bounded in memory, processor time, wall-clock time and the size of its
answers. One that goes over a limit is killed, and the next call starts a new one. It ends with
this object or with this process, whichever ends first. Knows nothing of what the tasks do: they
are the modules in ``wazn.text.sandboxed``.
"""

import contextlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wazn.text.json_file import JSON

_WORKER = Path(__file__).parent / "sandboxed" / "worker.py"
_CHUNK_BYTES = 1 << 16
_FAREWELL_S = 0.5
"""How long a helper may take to notice that its input has ended, before it is killed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one helper may use, per call: ``setup_cpu_s`` is for the first, which loads the file.

    Processor time is counted in whole seconds, so up to one more may pass; wall time also covers
    waiting for a processor on a busy machine.
    """

    memory_bytes: int
    setup_cpu_s: int
    cpu_s: int
    wall_s: float
    answer_bytes: int


class SandboxFailure(Exception):
    """A call failed; ``kind`` is time, memory, output, crash, refused or failed."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class Sandbox:
    """One helper process for one task; calls from several threads wait for one another."""

    def __init__(self, task: str, libraries: Sequence[str], setup: JSON, limits: Limits) -> None:
        """``setup`` goes to the task's ``prepare`` in every new process."""
        self.limits = limits
        self._memory_mib = limits.memory_bytes >> 20
        self._command = [sys.executable, "-I", "-S", str(_WORKER), task, str(limits.memory_bytes)]
        self._libraries = tuple(libraries)
        self._setup = setup
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._finalizer: weakref.finalize[..., Sandbox] | None = None

    def warm(self) -> None:
        """Start the process without waiting for it, so that the first call finds it ready."""
        with self._lock:
            self._running()

    def call(self, request: JSON, extra_cpu_s: int = 0) -> JSON:
        """The task's answer; SandboxFailure when it fails or goes over a limit."""
        with self._lock:
            process = self._running()
            try:
                if not self._is_ready:
                    self._exchange(process, {"setup": self._setup}, self.limits.setup_cpu_s)
                    self._is_ready = True
                return self._exchange(process, {"call": request}, self.limits.cpu_s + extra_cpu_s)
            except SandboxFailure as failure:
                if failure.kind not in ("refused", "failed", "output"):
                    self._kill()
                raise
            except BaseException:
                # An interrupt in the middle of a message: the pipes are out of step.
                self._kill()
                raise

    def close(self) -> None:
        """End the process; a later call would start a new one."""
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            directories = dict.fromkeys(map(_directory_of, self._libraries))
            self._process = subprocess.Popen(
                [*self._command, *directories],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
                # Away from the terminal: Ctrl-C is for the conversation, not for the helper.
                start_new_session=True,
            )
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
            self._is_ready = False
            self._finalizer = weakref.finalize(self, _end, self._process)
        return self._process

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._end()

    def _end(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._process = None

    def _exchange(self, process: subprocess.Popen[bytes], message: JSON, cpu_s: int) -> JSON:
        wall_s = self.limits.wall_s + cpu_s
        deadline = time.monotonic() + wall_s
        data = json.dumps({**message, "cpu_s": cpu_s}).encode()
        try:
            _send(process, len(data).to_bytes(4, "little") + data, deadline)
            length = int.from_bytes(_receive(process, 4, deadline), "little")
            if length > self.limits.answer_bytes:
                raise SandboxFailure("crash", "answered with more than it may")
            answer = json.loads(_receive(process, length, deadline))
        except TimeoutError:
            raise SandboxFailure("time", f"did not finish within {wall_s:g} s") from None
        except (EOFError, BrokenPipeError):
            raise self._explain(process, cpu_s) from None
        if "error" not in answer:
            return answer["result"]
        raise SandboxFailure(answer["kind"], self._describe(answer["kind"], answer["error"]))

    def _explain(self, process: subprocess.Popen[bytes], cpu_s: int) -> SandboxFailure:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_FAREWELL_S)
        if process.returncode == -signal.SIGXCPU:
            return SandboxFailure("time", f"did not finish within {cpu_s} s of processor time")
        return SandboxFailure(
            "crash",
            f"made its helper process crash, or needed more than {self._memory_mib} MiB of memory",
        )

    def _describe(self, kind: str, text: str) -> str:
        if kind == "memory":
            return f"needed more than {self._memory_mib} MiB of memory"
        # The text is the file's own: no terminal control codes, no line breaks.
        return "".join(letter if letter.isprintable() else " " for letter in text)


def _directory_of(library: str) -> str:
    spec = importlib.util.find_spec(library)
    assert spec is not None and spec.origin is not None, library
    return str(Path(spec.origin).parent.parent)


def _wait(descriptor: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _send(process: subprocess.Popen[bytes], data: bytes, deadline: float) -> None:
    assert process.stdin is not None
    descriptor = process.stdin.fileno()
    view = memoryview(data)
    while view:
        _wait(descriptor, select.POLLOUT, deadline)
        view = view[os.write(descriptor, view[:_CHUNK_BYTES]) :]


def _receive(process: subprocess.Popen[bytes], count: int, deadline: float) -> bytes:
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    data = bytearray()
    while len(data) < count:
        _wait(descriptor, select.POLLIN, deadline)
        chunk = os.read(descriptor, min(_CHUNK_BYTES, count - len(data)))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    try:
        process.wait(_FAREWELL_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
