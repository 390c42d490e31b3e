"""A conversation and its file: what was said, with which model and which parameters.

The file is JSON, readable by its owner only, and is checked field by field when it comes back:
someone else may have written it. Knows nothing of terminals or engines.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from wazn.engine.params import SamplingParams
from wazn.errors import BadFile, BadRequest, StorageError

FORMAT = "wazn conversation"
VERSION = 1
MAX_FILE_BYTES = 64 << 20
ROLES = ("system", "user", "assistant")


@dataclass(slots=True)
class Conversation:
    """Messages as a chat template wants them; the system message, if any, comes first."""

    model: str
    params: SamplingParams
    messages: list[dict[str, str]] = field(default_factory=list)

    @property
    def system(self) -> str | None:
        """The text of the system message."""
        if self.messages and self.messages[0]["role"] == "system":
            return self.messages[0]["content"]
        return None

    def set_system(self, text: str | None) -> None:
        """Replace the system message (an empty one counts), or remove it with None."""
        rest = self.messages[1:] if self.system is not None else self.messages
        self.messages = ([] if text is None else [{"role": "system", "content": text}]) + rest

    def clear(self) -> None:
        """Forget everything but the system message."""
        self.messages = self.messages[:1] if self.system is not None else []

    def add(self, role: str, content: str) -> None:
        """Append a message."""
        self.messages.append({"role": role, "content": content})

    def take_back(self) -> str | None:
        """Remove the last question with its answer; returns the question, None if there is none."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index]["role"] == "user":
                question = self.messages[index]["content"]
                del self.messages[index:]
                return question
        return None


def save(conversation: Conversation, path: Path) -> None:
    """Write the file with mode 0600; only a conversation is overwritten, no other file.

    Raises StorageError.
    """
    if path.exists():
        try:
            load(path)
        except BadFile:
            raise StorageError(
                f"'{path}' exists and is no conversation of wazn; choose another name."
            ) from None
    document = {
        "format": FORMAT,
        "version": VERSION,
        "model": conversation.model,
        "parameters": stated_params(conversation.params),
        "messages": conversation.messages,
    }
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StorageError(f"'{path}' cannot be written: {error.strerror}.") from None


def load(path: Path) -> Conversation:
    """Read and check a saved conversation; BadFile names the field that is wrong."""
    document = _read_object(path)
    if document.get("format") != FORMAT or document.get("version") != VERSION:
        raise BadFile(f"'{path}' is no conversation saved by this version of wazn's /save.")
    unknown = set(document) - {"format", "version", "model", "parameters", "messages"}
    if unknown:
        raise BadFile(f"'{path}': unknown field '{min(unknown)}'.")
    model = document.get("model")
    if not isinstance(model, str):
        raise BadFile(f"'{path}': model must be a text.")
    messages = document.get("messages")
    if not isinstance(messages, list):
        raise BadFile(f"'{path}': messages must be a list.")
    checked = [_check_message(path, index, message) for index, message in enumerate(messages)]
    return Conversation(model, _check_params(path, document.get("parameters")), checked)


def stated_params(params: SamplingParams) -> dict[str, Any]:
    """The parameters that differ from what nobody asked for."""
    unasked = SamplingParams()
    return {
        item.name: getattr(params, item.name)
        for item in fields(params)
        if getattr(params, item.name) != getattr(unasked, item.name)
    }


def _read_object(path: Path) -> dict[str, Any]:
    if path.exists() and not path.is_file():  # opening a named pipe would wait for ever
        raise BadFile(f"'{path}' is not a file.")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadFile(f"'{path}' cannot be read: {error.strerror}.") from None
    if len(content) > MAX_FILE_BYTES:
        raise BadFile(f"'{path}' is longer than {MAX_FILE_BYTES >> 20} MiB: no conversation.")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"'{path}' is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise BadFile(f"'{path}' must hold one JSON object.")
    return document


def _check_message(path: Path, index: int, message: object) -> dict[str, str]:
    where = f"'{path}': messages[{index}]"
    if not isinstance(message, dict) or set(message) != {"role", "content"}:
        raise BadFile(f"{where} must have a role and a content, and nothing else.")
    role, content = message["role"], message["content"]
    if role not in ROLES:
        raise BadFile(f"{where}.role is {role!r}; it must be one of {', '.join(ROLES)}.")
    if role == "system" and index > 0:
        raise BadFile(f"{where}: a system message can only come first.")
    if not isinstance(content, str):
        raise BadFile(f"{where}.content must be a text.")
    return {"role": role, "content": content}


def _check_params(path: Path, parameters: object) -> SamplingParams:
    if not isinstance(parameters, dict):
        raise BadFile(f"'{path}': parameters must be an object.")
    known = {item.name for item in fields(SamplingParams)}
    for name in parameters:
        if name not in known:
            raise BadFile(f"'{path}': parameters.{name} is not a sampling parameter.")
    try:
        return SamplingParams(**parameters)
    except BadRequest as error:
        raise BadFile(f"'{path}': parameters: {error}") from None
