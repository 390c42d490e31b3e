"""Commands run in this process: their output is captured, and nobody sits at the keyboard."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command_line import Outcome, Pipe, Run
from wazn.cli.main import run_command


@pytest.fixture(autouse=True)
def no_standard_input(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard input is empty."""
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        yield


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Pipe]:
    """Bytes for standard input."""
    opened = []

    def set_input(content: bytes) -> None:
        (tmp_path / "stdin").write_bytes(content)
        opened.append(open(tmp_path / "stdin"))
        monkeypatch.setattr("sys.stdin", opened[-1])

    yield set_input
    for file in opened:
        file.close()


@pytest.fixture
def wazn(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command line and returns what it printed."""

    def run(*arguments: str) -> Outcome:
        status = run_command(arguments)
        return Outcome(status, *capsys.readouterr())

    return run
