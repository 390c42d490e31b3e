"""The helper process itself: what it cannot do, when it starts, and that it ends."""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import wazn.text.sandbox
from wazn.text.sandbox import Limits, Sandbox, SandboxFailure

LIMITS = Limits(memory_bytes=512 << 20, setup_cpu_s=1, cpu_s=1, wall_s=5.0, answer_bytes=1 << 20)

TASK = """
import os, socket, subprocess, time

def prepare(setup):
    def answer(request):
        name, argument = request
        if name == "echo":
            return [setup, argument]
        if name == "open":
            return open(argument).read()
        if name == "socket":
            return str(socket.socket())
        if name == "run":
            return subprocess.run(["true"]).returncode
        if name == "sleep":
            return time.sleep(argument)
        if name == "print":
            return print(argument, flush=True)
        if name == "environment":
            return dict(os.environ)
        if name == "long":
            return "x" * argument
        if name == "exit":
            os._exit(argument)
    return answer
"""


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A helper with a task of our own, which knows no manners."""
    package = tmp_path / "rude"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (tmp_path / "rude_task.py").write_text(TASK)
    monkeypatch.syspath_prepend(tmp_path)
    built = Sandbox("rude_task", ["rude"], "setup", LIMITS)
    yield built
    built.close()


def process_id(sandbox: Sandbox) -> int:
    assert sandbox._process is not None
    return sandbox._process.pid


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_call_is_answered_with_the_setup_at_hand(sandbox: Sandbox) -> None:
    assert sandbox.call(["echo", {"é": [1, None]}]) == ["setup", {"é": [1, None]}]


def test_one_process_serves_many_calls(sandbox: Sandbox) -> None:
    sandbox.warm()
    pid = process_id(sandbox)
    for n in range(20):
        assert sandbox.call(["echo", n]) == ["setup", n]
    assert process_id(sandbox) == pid


def test_threads_take_turns(sandbox: Sandbox) -> None:
    answers: dict[int, object] = {}

    def ask(n: int) -> None:
        answers[n] = sandbox.call(["echo", "x" * (n * 20_000)])

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: ["setup", "x" * (n * 20_000)] for n in range(8)}


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (["open", "/etc/passwd"], "Too many open files"),
        (["socket", None], "Too many open files"),
        (["run", None], "Too many open files"),
    ],
)
def test_no_file_socket_or_process_can_be_opened(
    sandbox: Sandbox, request_: list[object], named: str
) -> None:
    with pytest.raises(SandboxFailure, match=named):
        sandbox.call(request_)
    assert sandbox.call(["echo", 1]) == ["setup", 1]


def test_the_environment_and_its_secrets_stay_outside(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "secret")
    seen = sandbox.call(["environment", None])
    assert set(seen) <= {"LC_CTYPE", "LD_LIBRARY_PATH"}


def test_what_a_library_prints_does_not_disturb_the_answers(sandbox: Sandbox) -> None:
    assert sandbox.call(["print", "hello"]) is None
    assert sandbox.call(["echo", 1]) == ["setup", 1]


def test_a_sleeping_helper_is_killed_and_replaced(sandbox: Sandbox) -> None:
    assert sandbox.call(["echo", 1]) == ["setup", 1]
    sandbox.limits = replace(LIMITS, cpu_s=0, wall_s=0.4)
    with pytest.raises(SandboxFailure, match=r"did not finish within 0\.4 s"):
        sandbox.call(["sleep", 60])
    sandbox.limits = LIMITS
    assert sandbox.call(["echo", 1]) == ["setup", 1]


def test_an_answer_over_its_size_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxFailure, match="answered with more than it may"):
        sandbox.call(["long", LIMITS.answer_bytes])
    assert sandbox.call(["echo", 1]) == ["setup", 1]


def test_a_helper_that_dies_is_replaced(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxFailure, match="made its helper process crash"):
        sandbox.call(["exit", 3])
    assert sandbox.call(["echo", 1]) == ["setup", 1]
    os.kill(process_id(sandbox), 9)
    while is_running(process_id(sandbox)) and sandbox._process.poll() is None:  # type: ignore[union-attr]
        time.sleep(0.01)
    assert sandbox.call(["echo", 2]) == ["setup", 2]


def test_closing_ends_the_process_and_leaves_no_zombie(sandbox: Sandbox) -> None:
    sandbox.warm()
    pid = process_id(sandbox)
    sandbox.close()
    assert not is_running(pid)


def test_a_forgotten_sandbox_ends_its_process() -> None:
    forgotten = Sandbox("template", ["jinja2", "markupsafe"], None, LIMITS)
    forgotten.warm()
    pid = process_id(forgotten)
    del forgotten
    gc.collect()
    assert not is_running(pid)


def test_the_helper_ends_when_its_parent_is_killed() -> None:
    program = (
        "from wazn.text.chat_template import ChatTemplate\n"
        "template = ChatTemplate('x')\n"
        "template.render([{'role': 'user', 'content': 'a'}])\n"
        "print(template._sandbox._process.pid, flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    source = str(Path(wazn.text.sandbox.__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
    deadline = time.monotonic() + 5
    while is_running(pid) and _state(pid) != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(pid) or _state(pid) == "Z"


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def test_importing_the_text_package_loads_neither_jinja_nor_tokenizers() -> None:
    program = (
        "import sys, wazn.text.chat_template, wazn.text.stream_decoder, wazn.text.reasoning\n"
        "print([name for name in ('jinja2', 'tokenizers', 'numpy') if name in sys.modules])"
    )
    source = str(Path(wazn.text.sandbox.__file__).parents[2])
    output = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
        check=True,
    ).stdout
    assert output.strip() == b"[]"
