"""Raw completion."""

import json

import pytest

from tests.cli.command_line import Pipe, Run
from tests.cli.fakes import Reply, install


def test_the_prompt_is_continued_as_it_stands(wazn: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opening = install(monkeypatch, Reply(" there was"))
    assert wazn("run", "smollm2", "-p", "Once upon a time") == (0, " there was\n", "")
    assert opening.llm.prompts == ["Once upon a time"]


def test_the_text_can_come_from_standard_input(
    wazn: Run, monkeypatch: pytest.MonkeyPatch, pipe: Pipe
) -> None:
    opening = install(monkeypatch)
    pipe(b"def f(x):\n    return\n")
    wazn("run", "smollm2")
    assert opening.llm.prompts == ["def f(x):\n    return"]


def test_json_prints_the_completion(wazn: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Reply("a b", finish_reason="length"))
    completion = json.loads(wazn("run", "smollm2", "-p", "x", "--json").stdout)
    assert (completion["text"], completion["finish_reason"]) == ("a b", "length")


def test_without_a_text_there_is_nothing_to_continue(wazn: Run) -> None:
    outcome = wazn("run", "smollm2")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert "nothing to continue" in outcome.stderr


def test_an_answer_that_fills_the_context_is_remarked_on_stderr(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Reply("a b", finish_reason="length"))
    outcome = wazn("run", "smollm2", "-p", "x")
    assert (outcome.status, outcome.stdout) == (0, "a b\n")
    assert "the context is full" in outcome.stderr
    assert wazn("run", "smollm2", "-p", "x", "--max-tokens", "2").stderr == ""
