"""The door: help, suggestions, and what becomes of errors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import wazn as wazn_package
from tests.cli.command_line import Run
from wazn.cli.main import COMMANDS
from wazn.errors import BadFile


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("wazn.weights.store.Store.list", fail)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_lists_every_command_with_one_line(wazn: Run, arguments: list[str]) -> None:
    outcome = wazn(*arguments)
    assert outcome.status == 0
    for name, entry in COMMANDS.items():
        assert f"  {name} " in outcome.stdout
        assert entry.summary in outcome.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself_with_its_line_and_an_example(wazn: Run, name: str) -> None:
    outcome = wazn(name, "--help")
    assert outcome.status == 0
    assert COMMANDS[name].summary in " ".join(outcome.stdout.split())
    assert f"wazn {name}" in outcome.stdout.split("Example", 1)[1]


@pytest.mark.parametrize("name", ["list", "prune", "clear"])
def test_each_cache_command_has_an_example(wazn: Run, name: str) -> None:
    outcome = wazn("cache", name, "--help")
    assert outcome.status == 0
    assert f"wazn cache {name}" in outcome.stdout.split("Example", 1)[1]


def test_an_unknown_command_gets_a_suggestion(wazn: Run) -> None:
    outcome = wazn("chta")
    assert outcome == (2, "", "wazn: no command 'chta'; did you mean 'chat'? (see 'wazn --help')\n")


def test_a_command_like_none_points_to_the_list(wazn: Run) -> None:
    outcome = wazn("xyzzy")
    assert outcome.status == 2
    assert "'wazn --help' lists the commands" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--nonsense"], "--nonsense"),
        (["list", "--nonsense"], "--nonsense"),
        (["chat", "-p"], "-p"),
        (["chat", "--temperature", "warm"], "warm"),
        (["chat", "--temperature", "-3", "-p", "x"], "temperature is -3.0"),
        (["chat", "--kv", "int3", "-p", "x"], "int3"),
        (["chat", "--memory", "much", "-p", "x"], "'much' is not a size such as"),
        (["run"], "model"),
        (["cache", "nonsense"], "nonsense"),
        (["cache"], "command"),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(
    wazn: Run, arguments: list[str], complaint: str
) -> None:
    outcome = wazn(*arguments)
    assert outcome.status == 2
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("wazn: ")
    assert outcome.stderr.count("\n") == 1
    assert complaint.lower() in outcome.stderr.lower()


def test_version_is_printed(wazn: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(wazn_package), "__version__", "1.2.3")
    assert wazn("--version") == (0, "wazn 1.2.3\n", "")


def test_an_error_is_one_sentence_without_traceback(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, BadFile("model.gguf: field 'x' is\n2^63."))
    assert wazn("list") == (1, "", "wazn: model.gguf: field 'x' is 2^63.\n")


def test_escape_sequences_in_an_error_are_shown_and_not_obeyed(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, BadFile("tensor '\x1b]0;owned\x07'"))
    assert wazn("list").stderr == "wazn: tensor '␛]0;owned␇'\n"


def test_debug_adds_the_traceback(wazn: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, BadFile("broken."))
    outcome = wazn("--debug", "list")
    assert outcome.status == 1
    assert "Traceback" in outcome.stderr
    assert outcome.stderr.endswith("wazn: broken.\n")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("seven"), "wazn: unexpected ValueError: seven; this is a fault in wazn"),
        (PermissionError(13, "Permission denied", "/x"), "wazn: /x: Permission denied."),
        (MemoryError(), "wazn: not enough memory"),
    ],
)
def test_an_unexpected_error_is_one_sentence_too(
    wazn: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    fail_with(monkeypatch, error)
    outcome = wazn("list")
    assert outcome.status == 1
    assert outcome.stderr.startswith(sentence)
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interrupt_is_status_130_without_words(
    wazn: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    fail_with(monkeypatch, error)
    assert wazn("list") == (130, "", "")


def wazn_process(*arguments: str, stdout: int) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "wazn", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=60,
    )


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    finished = wazn_process("list", "--aliases", stdout=writing)
    os.close(writing)
    assert (finished.returncode, finished.stderr) == (141, b"")


def test_output_that_cannot_be_written_is_an_error() -> None:
    with open("/dev/full", "wb") as full:
        finished = wazn_process("list", "--aliases", stdout=full.fileno())
    assert finished.returncode == 1
    assert finished.stderr == b"wazn: No space left on device.\n"


def test_a_setting_before_the_command_wins_over_its_variable(
    wazn: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.environ", os.environ.copy())
    outcome = wazn("--home", str(tmp_path / "elsewhere"), "doctor", "--json")
    assert str(tmp_path / "elsewhere") in outcome.stdout


def test_a_configuration_file_can_be_named(
    wazn: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.environ", os.environ.copy())
    monkeypatch.delenv("WAZN_CACHE")
    config = tmp_path / "mine.toml"
    config.write_text(f'cache = "{tmp_path / "packed"}"\n')
    outcome = wazn("--config", str(config), "doctor", "--json")
    assert str(tmp_path / "packed") in outcome.stdout


def test_a_bad_setting_is_named(wazn: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", os.environ.copy())
    outcome = wazn("--cache-limit", "5Q", "list")
    assert outcome.status == 1
    assert "--cache-limit is '5Q'" in outcome.stderr
