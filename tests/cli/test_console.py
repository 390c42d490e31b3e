"""Safe text, tables, and a line that waits."""

import io
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazn.cli.answer import AnswerWriter
from wazn.cli.console import Waiting, prepare_streams, print_facts, print_table, printable
from wazn.engine.request import Increment


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.text())
def test_nothing_printable_can_control_a_terminal(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in shown if c not in "\n\t")


def test_ordinary_text_stays_as_it_is() -> None:
    text = "سلام\n\t你好 🙂 é"
    assert printable(text) == text


def test_a_model_cannot_control_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = FakeTerminal()
    with AnswerWriter(terminal) as writer:
        writer.write(Increment("1", 0, reasoning="\x1b[0m"))
        writer.write(Increment("1", 0, text="\x1b]52;c;aGk=\x07\r"))
    assert terminal.getvalue() == "\x1b[2m␛[0m\x1b[0m\n\n␛]52;c;aGk=␇␍\n"


def test_a_pipe_gets_the_answer_byte_for_byte() -> None:
    stream = io.StringIO()
    with AnswerWriter(stream) as writer:
        writer.write(Increment("1", 0, reasoning="hm"))
        writer.write(Increment("1", 0, text="\x1b[1mbold\n"))
    assert stream.getvalue() == "\x1b[1mbold\n"


def test_thinking_that_ends_its_line_is_set_off_by_one_empty_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    terminal = FakeTerminal()
    with AnswerWriter(terminal) as writer:
        writer.write(Increment("1", 0, reasoning="Hm.\n"))
        writer.write(Increment("1", 0, text="Yes."))
    assert terminal.getvalue() == "(thinking) Hm.\n\nYes.\n"


def test_output_is_utf_8_whatever_the_locale_says(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    prepare_streams()
    sys.stdout.write("سلام \ud800")
    sys.stdout.flush()
    assert raw.getvalue() == "سلام \\ud800".encode()


def test_columns_are_aligned_and_figures_stand_to_the_right(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("name", "size"), [("a", "1.5 GB"), ("longer", "12 MB")])
    assert capsys.readouterr().out == "name      size\na       1.5 GB\nlonger   12 MB\n"


def test_facts_have_their_values_in_one_column(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("a", "1"), ("long", "two\x1b")])
    assert capsys.readouterr().out == "a     1\nlong  two␛\n"


def test_a_short_wait_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = FakeTerminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Waiting("loading"):
        pass
    assert terminal.getvalue() == ""


def test_a_long_wait_shows_how_much_is_done_and_erases_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(Waiting, "QUIET_S", 0.001)
    monkeypatch.setattr(Waiting, "REFRESH_S", 0.001)
    terminal = FakeTerminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Waiting("loading \x1bx") as waiting:
        waiting.set_total(200)
        waiting.advance(86)
        until = time.monotonic() + 20
        while "43 %" not in terminal.getvalue() and time.monotonic() < until:
            time.sleep(0.001)
        waiting.note("packed in memory.")
    assert "loading ␛x … 43 %" in terminal.getvalue()
    assert "\r\x1b[Kwazn: packed in memory.\n" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_without_a_terminal_only_remarks_are_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Waiting, "QUIET_S", 0.0)
    with Waiting("loading") as waiting:
        waiting.note("packed in memory.")
    assert capsys.readouterr() == ("", "wazn: packed in memory.\n")
