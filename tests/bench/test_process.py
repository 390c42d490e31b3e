import io
import json
import os
import sys
from pathlib import Path

import pytest

from wazn.bench.process import answer, contender_process
from wazn.bench.workload import Prompts
from wazn.errors import BadFile, EngineFailed


class FakeContender:
    name, version, vocab_size = "fake", "1.2", 300

    def prefill(self, prompts: Prompts) -> float:
        return 1.5

    def decode(self, prompts: Prompts) -> float:
        if not prompts:
            raise ZeroDivisionError("no prompts")
        return float(len(prompts))

    def work(self) -> dict[str, int]:
        return {"prefill_macs": 7}


def _converse(*commands: object) -> list[dict[str, object]]:
    replies = io.StringIO()
    lines = io.StringIO("".join(json.dumps(command) + "\n" for command in commands))
    answer(FakeContender, lines, replies)
    return [json.loads(line) for line in replies.getvalue().splitlines()]


def test_a_child_introduces_itself_and_answers_until_there_are_no_more_commands() -> None:
    found = _converse({"kind": "prefill", "prompts": []}, {"kind": "decode", "prompts": [[1], [2]]})
    assert found == [
        {"version": "1.2", "vocab_size": 300, "work": {"prefill_macs": 7}},
        {"seconds": 1.5},
        {"seconds": 2.0},
    ]


def test_a_fault_in_the_engine_becomes_an_answer() -> None:
    assert _converse({"kind": "decode", "prompts": []})[-1] == {
        "error": "EngineFailed",
        "message": "ZeroDivisionError: no prompts",
    }


def test_a_refusal_while_loading_keeps_its_kind() -> None:
    def load() -> FakeContender:
        raise BadFile("model.gguf is damaged.")

    replies = io.StringIO()
    answer(load, io.StringIO(), replies)
    assert json.loads(replies.getvalue()) == {
        "error": "BadFile",
        "message": "model.gguf is damaged.",
    }


CHILD = """
import json, os, sys
def say(**value): print(json.dumps(value), flush=True)
say(version="3", vocab_size=10, work={"pid": os.getpid()})
for line in sys.stdin:
    command = json.loads(line)
    if command["kind"] == "decode": os._exit(7)
    say(seconds=float(len(command["prompts"])))
"""


def test_the_parent_starts_a_child_and_has_it_work() -> None:
    with contender_process("fake", [sys.executable, "-c", CHILD]) as contender:
        assert (contender.name, contender.version, contender.vocab_size) == ("fake", "3", 10)
        assert contender.pid == contender.work["pid"] != os.getpid()
        assert contender.run("prefill", [[1], [2], [3]]) == 3.0


def test_a_child_ends_with_its_block() -> None:
    with contender_process("fake", [sys.executable, "-c", CHILD]) as contender:
        pid = contender.pid
    assert not Path(f"/proc/{pid}").exists()


def test_a_child_that_dies_at_work_is_told_with_its_status() -> None:
    with contender_process("fake", [sys.executable, "-c", CHILD]) as contender:
        with pytest.raises(EngineFailed, match="process of fake died with exit status 7"):
            contender.run("decode", [[1]])
        with pytest.raises(EngineFailed, match="exit status 7"):
            contender.run("decode", [[1]])


@pytest.mark.parametrize(
    ("kind", "expected"), [("BadFile", BadFile), ("NoSuchError", EngineFailed)]
)
def test_an_error_of_the_child_is_raised_in_the_parent(
    kind: str, expected: type[Exception]
) -> None:
    child = f"""print('{{"error": "{kind}", "message": "it broke."}}')"""
    with (
        pytest.raises(expected, match="it broke"),
        contender_process("fake", [sys.executable, "-c", child]),
    ):
        pass
