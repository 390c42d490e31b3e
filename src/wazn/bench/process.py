"""A contender in a process of its own, and the two ends of the conversation with it.

Thread pools of two engines in one process disturb each other (both may spin while they wait, and
their run-time libraries share settings), one engine's crash would end the other's run, and CPU time
could not be told apart. So each contender is a child that answers one JSON line with another;
while it waits for a line it does nothing. The work is timed inside the child.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from wazn import errors
from wazn.bench.workload import Contender, Kind, Prompts
from wazn.errors import EngineFailed, WaznError
from wazn.weights.choice import Weights

END_WAIT_S = 10.0


class ContenderProcess:
    """The parent's end. Raises what loading or working raised in the child."""

    def __init__(self, name: str, child: subprocess.Popen[str]) -> None:
        """Waits until the model is loaded."""
        self.name = name
        self.pid = child.pid
        self._child = child
        greeting = self._receive()
        self.version = str(greeting["version"])
        self.vocab_size = int(greeting["vocab_size"])
        self.work: dict[str, int] = greeting["work"]

    def run(self, kind: Kind, prompts: Prompts) -> float:
        """Seconds that the contender measured for this work."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps({"kind": kind, "prompts": prompts}) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            pass  # the child has died; receiving says how
        return float(self._receive()["seconds"])

    def _receive(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            status = self._child.wait()
            raise EngineFailed(f"the process of {self.name} died with exit status {status}.")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            kind = getattr(errors, answer["error"], EngineFailed)
            raise kind(answer["message"])
        return answer


@contextmanager
def contender_process(name: str, command: Sequence[str]) -> Iterator[ContenderProcess]:
    """Run ``command`` as a contender; it ends with the block. See ``contender_command``."""
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8")
    try:
        yield ContenderProcess(name, child)
    finally:
        child.terminate()
        try:
            child.communicate(timeout=END_WAIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()


def contender_command(
    name: str, path: Path, threads: int, weights: Weights = "native"
) -> list[str]:
    """The command line of a child that loads ``path`` with the engine of that name.

    ``weights`` is for wazn; the others take a file as it is.
    """
    what = [name, str(path), str(threads), weights]
    return [sys.executable, "-m", "wazn.bench.process", *what]


def answer(load: Callable[[], Contender], commands: TextIO, replies: TextIO) -> None:
    """The child's end: load, then answer each command until there are no more."""
    try:
        contender = load()
        version, vocab_size = contender.version, contender.vocab_size
        _send(replies, {"version": version, "vocab_size": vocab_size, "work": contender.work()})
        for line in commands:
            command = json.loads(line)
            work = contender.prefill if command["kind"] == "prefill" else contender.decode
            _send(replies, {"seconds": work(command["prompts"])})
    except WaznError as error:
        _send(replies, {"error": type(error).__name__, "message": str(error)})
    except Exception as error:
        _send(replies, {"error": "EngineFailed", "message": f"{type(error).__name__}: {error}"})


def _send(replies: TextIO, value: dict[str, Any]) -> None:
    replies.write(json.dumps(value) + "\n")
    replies.flush()


def _load(name: str, path: Path, threads: int, weights: str) -> Contender:
    if name == "wazn":
        from wazn.bench.wazn import Wazn

        return Wazn(path, threads, cast(Weights, weights))
    from wazn.bench.llama_cpp import LlamaCpp

    return LlamaCpp(path, threads)


def main() -> None:
    """Be the child: ``python -m wazn.bench.process NAME PATH THREADS WEIGHTS``."""
    name, path, threads, weights = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when this process ends
    # What a library prints must not mix with the answers: its stdout becomes our stderr.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answer(lambda: _load(name, Path(path), int(threads), weights), sys.stdin, replies)


if __name__ == "__main__":
    main()
