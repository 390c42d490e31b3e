"""The conversation on a terminal: messages, and commands that begin with a slash.

Knows the conversation and what was measured; the line editor reads, ``answer`` streams. Whatever
goes wrong with one message is said in one line and the conversation goes on without that message.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wazn.cli import conversation as files
from wazn.cli.answer import Answer, AnswerWriter, follow
from wazn.cli.console import print_error, print_facts, printable
from wazn.cli.conversation import Conversation
from wazn.errors import BadRequest, WaznError

if TYPE_CHECKING:
    from wazn.engine.llm import LLM


class ReplCommand(NamedTuple):
    """A slash command: the argument it takes, if any, and its line in /help."""

    argument: str
    summary: str


REPL_COMMANDS = {
    "help": ReplCommand("", "this list"),
    "system": ReplCommand("[TEXT]", "set the system message; without TEXT, show it"),
    "save": ReplCommand("FILE", "write the conversation to a JSON file"),
    "load": ReplCommand("FILE", "go on with a saved conversation"),
    "retry": ReplCommand("", "answer the last message again"),
    "stats": ReplCommand("", "tokens, speed and how full the context is"),
    "clear": ReplCommand("", "forget the conversation, keep the system message"),
    "exit": ReplCommand("", "leave; Ctrl-D does the same"),
}


class Repl:
    """One conversation with one model. ``read_line`` raises EOFError when the person leaves."""

    def __init__(
        self,
        llm: LLM,
        conversation: Conversation,
        read_line: Callable[[], str],
        template_variables: dict[str, Any],
    ) -> None:
        self._llm = llm
        self._conversation = conversation
        self._read_line = read_line
        self._template_variables = template_variables
        self._answers: list[Answer] = []
        self._is_open = True

    def run(self) -> None:
        """Read and answer until the person leaves."""
        while self._is_open:
            try:
                line = self._read_line().strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                sys.stdout.write("(/exit or Ctrl-D leaves)\n")
                continue
            try:
                self._handle(line)
            except WaznError as error:
                print_error(str(error))
            except KeyboardInterrupt:  # before the answer had begun
                sys.stdout.write("(stopped)\n")

    def _handle(self, line: str) -> None:
        # A second slash makes it a path: "/etc/hosts: what is it for?" is a message.
        command = re.fullmatch(r"/([^\s/]*)(?:\s+(.*))?", line, re.DOTALL)
        if command:
            self._command(command.group(1), (command.group(2) or "").strip())
        elif line:
            self._ask(line)

    def _command(self, name: str, argument: str) -> None:
        known = REPL_COMMANDS.get(name)
        if known is None:
            raise BadRequest(_unknown_command(name))
        if argument and not known.argument:
            raise BadRequest(f"/{name} takes no argument.")
        if known.argument and not known.argument.startswith("[") and not argument:
            raise BadRequest(f"/{name} needs a {known.argument}.")
        match name:
            case "help":
                _print_help()
            case "system":
                self._system(argument)
            case "save":
                self._save(Path(os.path.expanduser(argument)))
            case "load":
                self._load(Path(os.path.expanduser(argument)))
            case "retry":
                self._retry()
            case "stats":
                self._print_stats()
            case "clear":
                self._conversation.clear()
            case "exit":
                self._is_open = False

    def _ask(self, question: str) -> None:
        self._conversation.add("user", question)
        answered = False
        try:
            answered = self._answer()
        finally:
            if not answered:
                self._conversation.take_back()

    def _answer(self) -> bool:
        """Answer the last message; whether there is an answer to keep."""
        conversation = self._conversation
        stream = self._llm.chat(
            conversation.messages, conversation.params, stream=True, **self._template_variables
        )
        with AnswerWriter(sys.stdout) as writer:
            answer = follow(stream, writer.write)
        if answer.increments:
            self._answers.append(answer)
        if answer.is_interrupted:
            sys.stdout.write("(stopped)\n")
        elif answer.is_cut and conversation.params.max_tokens is None:
            sys.stdout.write("(the context is full; /clear begins anew)\n")
        elif not answer.text:
            sys.stdout.write("(no answer; the message is forgotten)\n")
        if answer.text:
            conversation.add("assistant", answer.text)
        return bool(answer.text)

    def _system(self, text: str) -> None:
        if text:
            self._conversation.set_system(text)
        else:
            current = self._conversation.system
            shown = "(no system message)" if current is None else printable(current)
            sys.stdout.write(f"{shown}\n")

    def _save(self, path: Path) -> None:
        files.save(self._conversation, path)
        sys.stdout.write(f"saved {len(self._conversation.messages)} messages to {path}\n")

    def _load(self, path: Path) -> None:
        loaded = files.load(path)
        if loaded.model != self._conversation.model:
            model = printable(loaded.model)
            sys.stdout.write(f"(saved with {model}; {self._conversation.model} goes on with it)\n")
        self._conversation.messages = loaded.messages
        self._conversation.params = loaded.params
        sys.stdout.write(f"loaded {len(loaded.messages)} messages and their parameters\n")

    def _retry(self) -> None:
        before = list(self._conversation.messages)
        question = self._conversation.take_back()
        if question is None:
            raise BadRequest("there is no message to answer again.")
        try:
            self._ask(question)
        finally:
            if len(self._conversation.messages) < len(before):  # no new answer: keep the old one
                self._conversation.messages = before

    def _print_stats(self) -> None:
        if not self._answers:
            raise BadRequest("nothing has been answered yet.")
        last = self._answers[-1]
        written = sum(answer.num_tokens for answer in self._answers)
        # The first token comes with the prefill.
        decoding = _rate(last.num_tokens - 1, last.streaming_s)
        facts = [
            ("last answer", f"{last.num_tokens} tokens, {decoding}"),
            ("all answers", f"{len(self._answers)}, {written} tokens"),
        ]
        usage = last.usage
        if usage is None:
            facts.insert(0, ("last prompt", "not counted: its answer was stopped"))
        else:
            prefill = _rate(usage.prompt_tokens, usage.prefill_s)
            used = usage.prompt_tokens + usage.completion_tokens
            context = self._llm.engine.limits.context
            facts.insert(0, ("last prompt", f"{usage.prompt_tokens} tokens, {prefill}"))
            facts.append(("context used", f"{used} of {context} tokens"))
        print_facts(facts)


def _print_help() -> None:
    print_facts(
        [
            (f"/{name} {command.argument}".rstrip(), command.summary)
            for name, command in REPL_COMMANDS.items()
        ]
    )
    sys.stdout.write("Enter sends, Alt-Enter begins a new line, Ctrl-C stops an answer.\n")


def _rate(num_tokens: int, seconds: float) -> str:
    if num_tokens < 1 or seconds <= 0:
        return "too few to say how fast"
    return f"{num_tokens / seconds:.1f} tokens/s"


def _unknown_command(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, REPL_COMMANDS, n=1)
    hint = f"did you mean /{near[0]}?" if near else "/help lists the commands."
    return f"there is no command /{name}; {hint}"
