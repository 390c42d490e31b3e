"""OpenAI's response objects, put together from the worker's increments.

Knows the shape of a chat completion and of its chunks, whole and streamed; knows no transport.
Every field OpenAI's clients read is there, with null where there is nothing to say.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from wazn.engine.protocol import ScoredToken, TextIncrement, TokenText
from wazn.engine.request import FinishReason

LEAST_LOGPROB = -9999.0  # JSON has no infinity; OpenAI says this of impossible tokens


@dataclass(frozen=True, slots=True)
class ReplyIdentity:
    """What all chunks of a reply have in common."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """The outer object, of kind ``chat.completion`` or ``chat.completion.chunk``."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


@dataclass(slots=True)
class TokenCount:
    """The usage of a reply: one prompt, however many answers."""

    prompt_tokens: int
    completion_tokens: int = 0
    reasoning_tokens: int = 0

    def add(self, increment: TextIncrement) -> None:
        """Counts an answer that is finished with this increment."""
        if increment.usage is not None:
            self.completion_tokens += increment.usage.completion_tokens
            self.reasoning_tokens += increment.usage.reasoning_tokens

    def as_json(self) -> dict[str, Any]:
        """OpenAI's usage object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }


@dataclass(slots=True)
class Choice:
    """One answer of a reply that is sent whole."""

    index: int
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    logprobs: list[dict[str, Any]] | None = None
    finish_reason: FinishReason | None = None

    def add(self, increment: TextIncrement) -> None:
        """Appends what a step wrote."""
        self.text.append(increment.text)
        self.reasoning.append(increment.reasoning)
        if increment.logprobs is not None:
            self.logprobs = (self.logprobs or []) + _scored(increment.logprobs)
        self.finish_reason = increment.finish_reason

    def as_json(self) -> dict[str, Any]:
        """OpenAI's choice object; ``reasoning_content`` only if the model was thinking."""
        message = {"role": "assistant", "content": "".join(self.text), "refusal": None}
        reasoning = "".join(self.reasoning)
        if reasoning:
            message["reasoning_content"] = reasoning
        return {
            "index": self.index,
            "message": message,
            "logprobs": _logprobs(self.logprobs),
            "finish_reason": self.finish_reason,
        }


def first_delta(index: int) -> dict[str, Any]:
    """The chunk choice that opens an answer."""
    delta = {"role": "assistant", "content": ""}
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def delta_of(increment: TextIncrement) -> dict[str, Any] | None:
    """The chunk choice for an increment; None if there is nothing to tell yet."""
    delta = {}
    if increment.reasoning:
        delta["reasoning_content"] = increment.reasoning
    if increment.text:
        delta["content"] = increment.text
    if not delta and increment.logprobs is None and increment.finish_reason is None:
        return None
    return {
        "index": increment.index,
        "delta": delta,
        "logprobs": _logprobs(None if increment.logprobs is None else _scored(increment.logprobs)),
        "finish_reason": increment.finish_reason,
    }


def _logprobs(content: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    return None if content is None else {"content": content, "refusal": None}


def _scored(tokens: Iterable[ScoredToken]) -> list[dict[str, Any]]:
    return [
        {**_token(token.chosen), "top_logprobs": [_token(top) for top in token.top]}
        for token in tokens
    ]


def _token(token: TokenText) -> dict[str, Any]:
    return {
        "token": token.text,
        "logprob": max(token.logprob, LEAST_LOGPROB),
        "bytes": list(token.raw),
    }
