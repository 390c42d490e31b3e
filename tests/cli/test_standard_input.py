"""Standard input as a prompt: UTF-8 text or a clear refusal."""

import os
import threading
import time

import pytest

from tests.cli.command_line import Pipe, Run
from wazn.cli import standard_input
from wazn.errors import BadRequest


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\x7fELF\x02\x00\x00", "standard input is binary (a zero byte at offset 5)"),
        (b"caf\xe9 au lait", "standard input is not UTF-8 (byte 0xe9 at offset 3)"),
    ],
)
def test_what_is_no_utf_8_text_is_refused_with_the_place(
    wazn: Run, pipe: Pipe, content: bytes, complaint: str
) -> None:
    pipe(content)
    outcome = wazn("chat", "-p", "Summarise")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert complaint in outcome.stderr


def test_an_endless_input_is_refused(
    wazn: Run, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standard_input, "MAX_INPUT_BYTES", 1 << 20)
    pipe(b"y\n" * (1 << 20))
    outcome = wazn("chat", "-p", "Summarise")
    assert outcome.status == 1
    assert "longer than 1 MiB" in outcome.stderr


def test_a_closed_standard_input_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert standard_input.read_prompt("x") == "x"
    assert not standard_input.is_interactive()


def test_an_argument_that_is_no_utf_8_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"-p is not UTF-8 \(byte 0xe9"):
        standard_input.read_prompt(os.fsdecode(b"caf\xe9"))


def test_a_silent_pipe_is_waited_for_and_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(standard_input, "SILENCE_S", 0.01)
    reading, writing = os.pipe()

    def write_late() -> None:
        time.sleep(0.2)
        os.write(writing, b"late")
        os.close(writing)

    writer = threading.Thread(target=write_late)
    with open(reading) as silent:
        monkeypatch.setattr("sys.stdin", silent)
        writer.start()
        assert standard_input.read_prompt(None) == "late"
    writer.join()
    assert "waiting for standard input" in capsys.readouterr().err
