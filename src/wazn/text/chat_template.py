"""Turns a conversation into the prompt its model was trained on, by the model's own template.

Templates are programs in the jinja2 language, written by whoever published the model. They are
rendered in a helper process that holds nothing and can do nothing (see ``sandbox``), with the
limits below. What a speaker says never becomes a special token (see ``prompt``). Knows no token
ids.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from wazn.errors import BadFile, BadRequest, BadTemplate
from wazn.text.dialect import Dialect
from wazn.text.families import ANSWER_MARKERS
from wazn.text.huggingface_tokenizer import read_config
from wazn.text.json_file import JSON
from wazn.text.messages import Message, check_messages
from wazn.text.prompt import Marker, Prompt, escaped, mark_speech
from wazn.text.sandbox import Limits, Sandbox, SandboxFailure
from wazn.text.tokenizer import Tokenizer
from wazn.text.tools import Tool, check_tools

MAX_TEMPLATE_CHARACTERS = 1_000_000
"""All templates of one model together; a long one has 30,000."""
MAX_PROMPT_CHARACTERS = 8_000_000
"""Rendered text: two million tokens of English, more than any context."""

LIMITS = Limits(
    memory_bytes=512 << 20,  # python and jinja2 take 40 MiB, the longest prompt 100 MiB
    setup_cpu_s=1,
    cpu_s=1,  # a long conversation takes milliseconds
    wall_s=10.0,  # a busy machine may let the helper wait
    answer_bytes=6 * MAX_PROMPT_CHARACTERS + 64,  # six bytes is the longest JSON of a character
)
"""What rendering one conversation may use; a template that wants more is a BadTemplate."""

_DEFAULT = "default"
_TOOL_USE = "tool_use"


class ChatTemplate:
    """The templates of one model: ``default``, and perhaps ``tool_use`` for requests with tools."""

    def __init__(self, sources: str | Mapping[str, str], bos: str = "", eos: str = "") -> None:
        """``bos`` and ``eos``: the special tokens as text. Compiled when it is first rendered."""
        self.sources = {_DEFAULT: sources} if isinstance(sources, str) else dict(sources)
        length = sum(map(len, self.sources.values()))
        if length > MAX_TEMPLATE_CHARACTERS:
            raise BadTemplate(
                f"the chat template has {length} characters, more than {MAX_TEMPLATE_CHARACTERS}."
            )
        self._special_tokens = {"bos_token": bos, "eos_token": eos}
        self._marker = Marker(())
        setup = {"sources": self.sources, "max_characters": MAX_PROMPT_CHARACTERS}
        self._sandbox = Sandbox("template", ["jinja2", "markupsafe"], setup, LIMITS)

    @classmethod
    def from_directory(cls, directory: Path, tokenizer: Tokenizer | None) -> Self | None:
        """The template of a Hugging Face directory; None when it has none."""
        path = directory / "chat_template.jinja"
        source: JSON
        if path.is_file():
            with path.open("rb") as file:
                source = file.read(4 * MAX_TEMPLATE_CHARACTERS + 1).decode(errors="replace")
        else:
            config = read_config(directory / "tokenizer_config.json")
            source = config.get("chat_template")
            if source is None:
                source = read_config(directory / "chat_template.json").get("chat_template")
        return cls._from_value(source, tokenizer)

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any], tokenizer: Tokenizer | None) -> Self | None:
        """The template in the metadata of a GGUF file; None when there is none."""
        key = "tokenizer.chat_template"
        source = metadata.get(key)
        if source is None:
            return None
        named = [
            {"name": name.removeprefix(f"{key}."), "template": template}
            for name, template in metadata.items()
            if name.startswith(f"{key}.")
        ]
        return cls._from_value([{"name": _DEFAULT, "template": source}, *named], tokenizer)

    @classmethod
    def _from_value(cls, value: JSON, tokenizer: Tokenizer | None) -> Self | None:
        """A template as text, or a list of {name, template}, as the files hold them."""
        if value is None:
            return None
        named = [{"name": _DEFAULT, "template": value}] if isinstance(value, str) else value
        try:
            sources = {one["name"]: one["template"] for one in named}
        except (TypeError, KeyError):
            sources = {None: None}
        if not sources or not all(
            isinstance(text, str) for pair in sources.items() for text in pair
        ):
            raise BadFile("chat_template is neither a text nor a list of {name, template}.")
        template = cls(sources)
        if tokenizer is not None:
            template.use_tokens_of(tokenizer)
        return template

    def use_tokens_of(self, tokenizer: Tokenizer) -> None:
        """Let the template write the special tokens as this tokenizer does, and nobody else."""
        bos, eos = map(tokenizer.token_text, (tokenizer.bos_id, tokenizer.eos_id))
        self._special_tokens = {"bos_token": bos, "eos_token": eos}
        self._marker = Marker(tokenizer.control_texts, ANSWER_MARKERS)

    def prompt(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool = True,
        tools: Sequence[Tool] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> Prompt:
        """The prompt; ``variables`` (such as enable_thinking) go to the template as they are.

        BadRequest when messages or tools are malformed; BadTemplate, with the template's own words,
        when it refuses them, fails, or goes over LIMITS.
        """
        name = _TOOL_USE if tools is not None and _TOOL_USE in self.sources else _DEFAULT
        if name not in self.sources:
            raise BadTemplate(
                f"the model has the chat templates {sorted(self.sources)}, but none named default."
            )
        dialect = Dialect.of(self.sources[name])
        said = {
            **variables,
            "messages": [dialect.spoken(message) for message in check_messages(messages)],
            "tools": check_tools(tools),
            "documents": documents,
        }
        mark, said = mark_speech(self._marker, said, self.sources.values())
        values = {
            **self._special_tokens,
            **said,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            text = str(self._sandbox.call({"name": name, "variables": values}))
        except SandboxFailure as failure:
            raise BadTemplate(_sentence(failure)) from None
        return Prompt(text.replace(escaped(mark), mark) if mark else text, mark)

    def render(self, messages: Sequence[Message], *arguments: Any, **variables: Any) -> str:
        """The prompt as plain text; arguments and errors are those of ``prompt``."""
        return self.prompt(messages, *arguments, **variables).text

    def warm(self) -> None:
        """Start the helper process now, so that the first conversation does not wait for it."""
        self._sandbox.warm()

    def close(self) -> None:
        """End the helper process."""
        self._sandbox.close()


def require_template(template: ChatTemplate | None) -> ChatTemplate:
    """The template; BadRequest when the model has none."""
    if template is None:
        raise BadRequest(
            "this model has no chat template, so it cannot hold a conversation; "
            "use `wazn run` (or LLM.generate) to continue a text with it."
        )
    return template


def _sentence(failure: SandboxFailure) -> str:
    if failure.kind == "refused":
        return f"the model's chat template refused the conversation: {failure.reason}"
    if failure.kind == "failed":
        return f"the model's chat template failed: {failure.reason}"
    if failure.kind == "output":
        return f"the model's chat template wrote more than {MAX_PROMPT_CHARACTERS} characters."
    return f"the model's chat template {failure.reason}."
