"""``wazn chat`` on a pseudo terminal, with the real line editor."""

import os
from pathlib import Path

import pytest

from tests.cli.fakes import PARIS
from tests.cli.terminal import FAKE_WAZN, Terminal


def test_a_person_can_talk_paste_stop_and_leave() -> None:
    with Terminal([*FAKE_WAZN, "0.2", "chat"]) as terminal:
        terminal.wait_for_prompt()
        terminal.type("hello\r")
        terminal.wait_for("The capital")
        terminal.type("\x03")
        terminal.wait_for("(stopped)\n")
        terminal.wait_for_prompt()
        terminal.type("\x1b[200~مرحبا\nworld\x1b[201~\r")
        terminal.wait_for(PARIS)
        terminal.wait_for_prompt()
        terminal.type("/stats\r")
        terminal.wait_for("context used")
        terminal.wait_for_prompt()
        terminal.type("\x04")
        assert terminal.wait_for_exit() == 0
    # hello, the stopped answer, and one message of two lines
    assert "last prompt   5 tokens" in terminal.shown.replace("\r", "\n")
    assert "Traceback" not in terminal.shown

    history = Path(os.environ["WAZN_HOME"]) / "chat_history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert "+مرحبا\n+world\n" in history.read_text()


def test_alt_enter_begins_a_new_line() -> None:
    with Terminal([*FAKE_WAZN, "0", "chat"]) as terminal:
        terminal.wait_for_prompt()
        terminal.type("/system one\x1b\rtwo\r")
        terminal.wait_for_prompt()
        terminal.type("/system\r")
        terminal.wait_for("\none\ntwo\n")
        terminal.wait_for_prompt()
        terminal.type("/exit\r")
        assert terminal.wait_for_exit() == 0


def test_the_tab_key_completes_commands() -> None:
    with Terminal([*FAKE_WAZN, "0", "chat"]) as terminal:
        terminal.wait_for_prompt()
        terminal.type("/he\t")
        terminal.wait_for("/help", times=2)
        terminal.type("\r")
        terminal.wait_for("Alt-Enter begins a new line")
        terminal.wait_for_prompt()
        terminal.type("\x04")
        assert terminal.wait_for_exit() == 0


def test_json_without_a_prompt_is_wrong_usage_on_a_terminal() -> None:
    with Terminal([*FAKE_WAZN, "0", "chat", "--json"]) as terminal:
        assert terminal.wait_for_exit() == 2
    assert "--json needs a prompt" in terminal.shown


def test_a_home_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WAZN_HOME", str(tmp_path / "file" / "home"))
    with Terminal([*FAKE_WAZN, "0", "chat"]) as terminal:
        assert terminal.wait_for_exit() == 1
    assert "set WAZN_HOME to a folder of your own" in " ".join(terminal.shown.split())
