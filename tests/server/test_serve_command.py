"""``wazn serve`` from end to end with a real, tiny model, and its complaints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from tests.golden.build import tiny_directory
from tests.golden.catalogue import LLAMA
from wazn import LLM, Completion, SamplingParams
from wazn.cli.main import run_command
from wazn.engine.protocol import Load
from wazn.errors import BadRequest
from wazn.server.listener import open_listener
from wazn.topology import Core, Topology, place, read_topology

CORES = (Core(0, (0,)), Core(0, (1,)), Core(1, (2,)), Core(1, (3,)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny Llama of random weights."""
    return tiny_directory(LLAMA, tmp_path_factory.mktemp("models") / "tiny-llama")


@contextmanager
def serving(model: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``wazn serve`` as a process, and the line it printed when it was ready."""
    command = [sys.executable, "-m", "wazn", "serve", str(model), "--port", "0"]
    command += ["--threads", "1", "--memory", "64MiB", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_a_real_model_says_over_http_what_it_says_in_python(model: Path) -> None:
    question = {"role": "user", "content": "What is the capital of France?"}
    with LLM(model, threads=1, memory=2**26) as llm:
        expected = llm.chat([question], SamplingParams(max_tokens=24, temperature=0))
    assert isinstance(expected, Completion)
    asked = {"model": "tiny-llama", "messages": [question], "max_tokens": 24, "temperature": 0}
    with serving(model) as (process, line):
        assert line.startswith("wazn serves tiny-llama on http://127.0.0.1:")
        url = line.rpartition(" ")[2]
        with OpenAI(base_url=url, api_key="unused", max_retries=0, timeout=30) as client:
            create: Any = client.chat.completions.create
            whole = create(**asked)
            streamed = [
                chunk.choices[0].delta.content or "" for chunk in create(**asked, stream=True)
            ]
            with pytest.raises(BadRequestError, match=r"9999.* 512") as caught:
                create(**asked | {"max_tokens": 9999})
            create(**asked, stream=True).close()  # withdrawn; the next one must not notice
            again = create(**asked)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert whole.choices == again.choices
    assert whole.choices[0].message.content == expected.text
    assert "".join(streamed) == expected.text
    assert whole.usage.prompt_tokens == expected.usage.prompt_tokens
    assert whole.usage.completion_tokens == len(expected.token_ids)
    assert caught.value.code == "context_length_exceeded"


def test_a_workers_threads_are_pinned_and_the_servers_are_not(model: Path) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    threads = str(len(cpus))
    with serving(model, "--pin", "--threads", threads) as (process, _):
        found = [
            [os.sched_getaffinity(int(task.name)) for task in Path(f"/proc/{pid}/task").iterdir()]
            for pid in (process.pid, *_children(process.pid))
        ]
    server, worker = found
    assert all(affinity == set(cpus) for affinity in server)
    pinned = [affinity for affinity in worker if affinity != set(cpus)]
    assert sorted(map(sorted, pinned)) == [[cpu] for cpu in place(read_topology(), len(cpus))[1:]]


def _children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


def test_workers_are_pinned_to_different_cpus_or_not_at_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[int] | None] = []

    def refuse(loads: list[Load], _: object) -> None:
        told.extend(load.cpus for load in loads)
        raise BadRequest("that was all.")

    monkeypatch.setattr("wazn.server.served_models.ServedModels", refuse)
    monkeypatch.setattr("wazn.topology.read_topology", lambda: Topology(CORES))
    complaint(capsys, "one", "two", "--threads", "2", "--pin")
    assert told == [[0, 1], [2, 3]]
    monkeypatch.setenv("WAZN_PIN", "yes")
    complaint(capsys, "one", "--threads", "1")
    complaint(capsys, "one", "--threads", "1", "--no-pin")
    assert told[2:] == [[0], None]
    message = complaint(capsys, "one", "two", "three", "--threads", "2")
    assert message.startswith("wazn: 3 x 2 threads cannot each be pinned to one of the 4 CPUs")
    assert "use at most 1 (--threads)" in message


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What ``wazn serve`` says on stderr as it fails."""
    assert run_command(["serve", *arguments]) != 0
    output = capsys.readouterr()
    assert output.out == ""
    return output.err


def test_an_address_others_can_reach_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    message = complaint(capsys, "smollm2", "--host", "0.0.0.0")
    assert message.startswith("wazn: --host 0.0.0.0 can be reached from other machines")
    assert message.count("\n") == 1


def test_a_port_in_use_is_noticed_before_anything_is_loaded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open_listener("127.0.0.1", 0) as taken:
        message = complaint(capsys, "smollm2", "--port", str(taken.getsockname()[1]))
    assert "is in use by another program" in message


def test_two_models_of_one_name_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the same name" in complaint(capsys, "smollm2", "smollm2", "--port", "0")


def test_a_model_that_does_not_exist_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert "/nowhere/model.gguf" in complaint(capsys, "/nowhere/model.gguf", "--port", "0")


def test_a_model_that_the_worker_cannot_load_is_the_workers_sentence(
    capfd: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    config = json.loads((model / "config.json").read_text())
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in model.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "config.json").write_text(json.dumps(config | {"num_hidden_layers": -1}))
    assert run_command(["serve", str(broken), "--port", "0"]) == 1
    errors = capfd.readouterr().err
    assert "num_hidden_layers" in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_the_options_of_loading_reach_the_worker() -> None:
    from wazn.cli.options import EngineOptions
    from wazn.cli.serve import _loads

    (load,) = _loads(["tiny"], EngineOptions(threads=3, kv="int8", weights="q8"))
    assert (load.model, load.threads, load.kv, load.weights) == ("tiny", 3, "int8", "q8")
