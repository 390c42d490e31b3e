"""The conversation: messages, slash commands, and what survives a failure."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.cli.fakes import PARIS, FakeLLM, Reply
from wazn.cli.conversation import Conversation
from wazn.cli.repl import REPL_COMMANDS, Repl
from wazn.engine.params import SamplingParams

QUESTION = {"role": "user", "content": "hello"}
ANSWER = {"role": "assistant", "content": PARIS}


class Talk:
    """A conversation whose lines are typed by the test."""

    def __init__(self, *replies: Reply, context: int = 100, **params: Any) -> None:
        self.llm = FakeLLM(list(replies) or [Reply()], context)
        self.conversation = Conversation("smollm2", SamplingParams(**params))

    def type(self, *lines: str | BaseException) -> None:
        read_line = reader(lines)
        Repl(cast(Any, self.llm), self.conversation, read_line, {"enable_thinking": False}).run()


def reader(lines: Iterable[str | BaseException]) -> Callable[[], str]:
    waiting = iter(lines)

    def read_line() -> str:
        line = next(waiting, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    return read_line


def test_answers_are_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    talk = Talk()
    talk.type("hello", "  and  ")
    assert talk.conversation.messages == [
        QUESTION,
        ANSWER,
        {"role": "user", "content": "and"},
        ANSWER,
    ]
    assert talk.llm.prompts[1] == talk.conversation.messages[:3]
    assert talk.llm.variables == [{"enable_thinking": False}] * 2
    assert capsys.readouterr() == (f"{PARIS}\n{PARIS}\n", "")


def test_thinking_is_not_part_of_the_conversation() -> None:
    talk = Talk(Reply("Yes.", reasoning="Hm."))
    talk.type("hello")
    assert talk.conversation.messages[1] == {"role": "assistant", "content": "Yes."}


def test_an_empty_line_asks_nothing() -> None:
    talk = Talk()
    talk.type("", "   ")
    assert talk.llm.prompts == []


@pytest.mark.parametrize("leaving", ["/exit", EOFError()])
def test_exit_and_ctrl_d_leave(leaving: str | BaseException) -> None:
    talk = Talk()
    talk.type(leaving, "hello")
    assert talk.llm.prompts == []


def test_ctrl_c_at_the_prompt_does_not_leave(capsys: pytest.CaptureFixture[str]) -> None:
    talk = Talk()
    talk.type(KeyboardInterrupt(), "hello")
    assert talk.conversation.messages == [QUESTION, ANSWER]
    assert "Ctrl-D leaves" in capsys.readouterr().out


def test_an_interrupted_answer_is_kept_as_far_as_it_came(
    capsys: pytest.CaptureFixture[str],
) -> None:
    talk = Talk(Reply("The capital", error=KeyboardInterrupt()), Reply())
    talk.type("hello", "go on")
    assert talk.conversation.messages[1] == {"role": "assistant", "content": "The capital"}
    assert len(talk.conversation.messages) == 4
    assert talk.llm.streams[0].is_closed
    assert capsys.readouterr().out == f"The capital\n(stopped)\n{PARIS}\n"


@pytest.mark.parametrize("reply", [Reply("", error=KeyboardInterrupt()), Reply("")])
def test_a_message_without_any_answer_is_forgotten(reply: Reply) -> None:
    talk = Talk(reply)
    talk.type("hello")
    assert talk.conversation.messages == []


def test_a_prompt_longer_than_the_context_does_not_end_the_conversation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    talk = Talk(context=8)
    talk.type("word " * 9, "hello")
    assert talk.conversation.messages == [QUESTION, ANSWER]
    assert capsys.readouterr().err == "wazn: prompt has 9 tokens; this model's context is 8.\n"


def test_a_full_context_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Talk(Reply("So", finish_reason="length")).type("hello")
    assert "the context is full" in capsys.readouterr().out


def test_an_answer_of_the_wanted_length_needs_no_remark(capsys: pytest.CaptureFixture[str]) -> None:
    Talk(Reply("So", finish_reason="length"), max_tokens=1).type("hello")
    assert capsys.readouterr().out == "So\n"


def test_help_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    Talk().type("/help")
    shown = capsys.readouterr().out
    assert all(f"/{name}" in shown for name in REPL_COMMANDS)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("/stast", "there is no command /stast; did you mean /stats?"),
        ("/xyzzy", "there is no command /xyzzy; /help lists the commands."),
        ("/", "there is no command /; /help lists the commands."),
        ("/save", "/save needs a FILE."),
        ("/load ", "/load needs a FILE."),
        ("/clear all", "/clear takes no argument."),
        ("/retry", "there is no message to answer again."),
        ("/stats", "nothing has been answered yet."),
        ("/load /nowhere/c.json", "'/nowhere/c.json' cannot be read: No such file or directory."),
        (
            "/save /nowhere/c.json",
            "'/nowhere/c.json' cannot be written: No such file or directory.",
        ),
    ],
)
def test_a_wrong_command_is_one_line_and_the_conversation_goes_on(
    capsys: pytest.CaptureFixture[str], line: str, complaint: str
) -> None:
    talk = Talk()
    talk.type(line, "hello")
    assert capsys.readouterr() == (PARIS + "\n", f"wazn: {complaint}\n")


def test_a_path_is_a_message_and_no_command() -> None:
    talk = Talk()
    talk.type("/etc/hosts: what is it for?")
    assert talk.llm.prompts[0][0]["content"] == "/etc/hosts: what is it for?"


def test_the_system_message_can_be_set_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    talk = Talk()
    talk.type("/system", "/system Be brief.\nVery.", "/system", "hello")
    assert talk.llm.prompts[0][0] == {"role": "system", "content": "Be brief.\nVery."}
    assert capsys.readouterr().out == f"(no system message)\nBe brief.\nVery.\n{PARIS}\n"


def test_clear_forgets_all_but_the_system_message() -> None:
    talk = Talk()
    talk.type("/system Be brief.", "hello", "/clear")
    assert talk.conversation.messages == [{"role": "system", "content": "Be brief."}]


def test_retry_asks_the_last_message_again() -> None:
    talk = Talk(Reply("First."), Reply("Second."))
    talk.type("hello", "/retry")
    assert talk.conversation.messages == [QUESTION, {"role": "assistant", "content": "Second."}]
    assert talk.llm.prompts == [[QUESTION], [QUESTION]]


def test_a_retry_that_says_nothing_keeps_the_old_answer() -> None:
    talk = Talk(Reply("First."), Reply("", error=KeyboardInterrupt()))
    talk.type("hello", "/retry")
    assert talk.conversation.messages == [QUESTION, {"role": "assistant", "content": "First."}]


def test_stats_tell_tokens_speed_and_context(capsys: pytest.CaptureFixture[str]) -> None:
    Talk(Reply("one two three")).type("hello", "hello again", "/stats")
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert lines[0] == "last prompt   6 tokens, 12.0 tokens/s"  # in the half second of the fake
    assert re.fullmatch(r"last answer   3 tokens, \d+\.\d tokens/s", lines[1])
    assert lines[2] == "all answers   2, 6 tokens"
    assert lines[3] == "context used  9 of 100 tokens"


def test_stats_count_a_stopped_answer_as_far_as_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    Talk(Reply("one two", error=KeyboardInterrupt())).type("hello", "/stats")
    shown = capsys.readouterr().out
    assert "last prompt  not counted: its answer was stopped" in shown
    assert "last answer  2 tokens, " in shown
    assert "context used" not in shown


def test_a_single_token_has_no_decoding_speed(capsys: pytest.CaptureFixture[str]) -> None:
    Talk(Reply("one")).type("hello", "/stats")
    assert "1 tokens, too few to say how fast" in capsys.readouterr().out


def test_a_saved_conversation_is_loaded_with_its_parameters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "with space.json"
    Talk(temperature=0.25).type("hello", f"/save {file}")
    talk = Talk()
    talk.type(f"/load {file}")
    assert talk.conversation.messages == [QUESTION, ANSWER]
    assert talk.conversation.params.temperature == 0.25
    assert "loaded 2 messages" in capsys.readouterr().out


def test_another_model_goes_on_with_a_conversation_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.json"
    Talk().type("hello", f"/save {file}")
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "model": "other\x1b[2J"}))
    talk = Talk()
    talk.type(f"/load {file}")
    assert talk.conversation.model == "smollm2"
    assert "(saved with other␛[2J; smollm2 goes on with it)" in capsys.readouterr().out


def test_a_home_folder_in_a_file_name_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Talk().type("hello", "/save ~/c.json")
    assert (tmp_path / "c.json").exists()
