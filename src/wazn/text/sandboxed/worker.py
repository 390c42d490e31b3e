"""The helper process: confines itself, then answers one request after the other over a pipe.

Started by ``wazn.text.sandbox`` as a script with ``python -I -S`` and the arguments: name of the
task module, address space limit in bytes, directories of the libraries the task needs. A message
is a little-endian 32-bit length and that much JSON. ``{"setup": …}`` calls the task's ``prepare``;
``{"call": …, "cpu_s": n}`` calls what it returned. The answer is ``{"result": …}``, or
``{"error": text, "kind": text}``. It ends when its input ends.
"""

import importlib
import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any

MAX_ERROR_CHARACTERS = 1000


def confine(memory_bytes: int) -> None:
    """Give up memory, new files and sockets, file writes, children and core dumps."""
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        # No new descriptor can be opened: neither a file nor a socket. The pipes stay.
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (allowed, allowed))


def allow_processor_time(seconds: int) -> None:
    """End this process once it has used so many further seconds (rounded up to whole ones)."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def read_exactly(count: int) -> bytes:
    """The next count bytes of the input; ends the process when the parent has gone."""
    data = sys.stdin.buffer.read(count)
    if len(data) < count:
        os._exit(0)
    return data


class Task:
    """The task module's state: what ``prepare`` returned, once there was a setup message."""

    def __init__(self, name: str) -> None:
        self._module = importlib.import_module(name)
        self._function: Callable[[Any], Any] | None = None

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            allow_processor_time(message["cpu_s"])
            if "setup" in message:
                self._function = self._module.prepare(message["setup"])
                return {"result": None}
            assert self._function is not None
            return {"result": self._function(message["call"])}
        except MemoryError:
            return {"error": "", "kind": "memory"}
        except RecursionError:
            return {"error": "it calls itself too deeply", "kind": "failed"}
        except BaseException as error:  # a panic of a Rust library is no Exception
            text = str(error)[:MAX_ERROR_CHARACTERS]
            kind = getattr(error, "kind", None)
            return {"error": text or type(error).__name__, "kind": kind or "failed"}


def main() -> None:
    task_name, memory_bytes, *libraries = sys.argv[1:]
    # Whatever a library prints goes to /dev/null, not between the messages.
    output = os.dup(1)
    os.dup2(2, 1)
    sys.path += [os.path.dirname(os.path.abspath(__file__)), *libraries]
    task = Task(task_name)
    confine(int(memory_bytes))
    with open(output, "wb", closefd=False) as stream:
        while True:
            length = int.from_bytes(read_exactly(4), "little")
            answer = task.answer(json.loads(read_exactly(length)))
            data = json.dumps(answer, ensure_ascii=False).encode(errors="replace")
            stream.write(len(data).to_bytes(4, "little") + data)
            stream.flush()


if __name__ == "__main__":
    main()
