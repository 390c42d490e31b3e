"""Renders every conversation with transformers' apply_chat_template into prompts.json.

Run from the root: ``python -m tests.golden.make_prompts`` (needs the parity extra). Dates of the
day become DATE. Messages are put into the form that each template documents, by hand: this must
not use the code it checks.
"""

import json
from datetime import datetime
from typing import Any

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import _compile_jinja_template

from tests.golden.conversations import FOLDER, TEMPLATES, Message, Template, calls

TEXT_ARGUMENTS = {"deepseek-r1"}  # the template adds them to a text
NO_CONTENT = {"deepseek-r1"}
"""The template tells a call by a content that is none, a field that apply_chat_template takes away
since transformers 5: its compiled template is used directly."""
THINKING = {"gpt-oss"}  # the name of the field for thoughts


def documented(name: str, message: Message) -> Message:
    """A client's message in the form that this template reads."""
    message = dict(message)
    if "tool_calls" in message:
        form = "text" if name in TEXT_ARGUMENTS else "object"
        message = calls(len(message["tool_calls"]), form)
        if name not in NO_CONTENT:
            message["content"] = ""
    if name in THINKING and "reasoning_content" in message:
        message["thinking"] = message.pop("reasoning_content")
    return message


def compiled(
    source: str, template: Template, messages: list[Message], variables: dict[str, Any]
) -> str:
    """The template rendered by transformers' environment, with the messages as they are."""
    tokens = {"bos_token": template.bos, "eos_token": template.eos}
    rendered = _compile_jinja_template(source).render(**tokens, messages=messages, **variables)
    return str(rendered)


def main() -> None:
    """Writes the file."""
    prompts: dict[str, dict[str, str]] = {}
    for name, template in TEMPLATES.items():
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(models.BPE()),
            bos_token=template.bos,
            eos_token=template.eos,
            chat_template=(FOLDER / "templates" / f"{name}.jinja").read_text(),
        )
        prompts[name] = {}
        for case, (messages, variables) in template.cases().items():
            arguments: dict[str, Any] = {**variables, "tokenize": False}
            told = [documented(name, message) for message in messages]
            if name in NO_CONTENT:
                text = compiled(str(tokenizer.chat_template), template, told, variables)
            else:
                text = str(tokenizer.apply_chat_template(told, **arguments))
            prompts[name][case] = text.replace(f"{datetime.now():%Y-%m-%d}", "DATE")
    text = json.dumps(prompts, ensure_ascii=False, indent=1)
    (FOLDER / "prompts.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
