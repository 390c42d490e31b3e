"""What goes into the engine and what comes out, as plain values that can cross a process border.

Imports no numpy and nothing of ``text`` but its events: the server and its worker exchange these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from wazn.engine.params import SamplingParams
from wazn.text.answers.events import CallEvent, ToolCall

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Natural logarithms of the model's own probabilities; ``top`` is most likely first."""

    id: int
    logprob: float
    top: list[tuple[int, float]]


class LogprobEntry(TypedDict):
    """A ``TokenLogprob`` as ``Completion`` shows it."""

    id: int
    logprob: float
    top: list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt to continue.

    ``is_chat``: what follows is the answer in a conversation, so a thinking part is told apart; a
    raw continuation is all text. ``reasoning_open``: the prompt ends inside a thinking part.
    ``tools``: what may be called, name → JSON schema of the parameters; without any, what looks
    like a call is text.
    """

    id: str
    prompt_ids: list[int]
    params: SamplingParams
    reasoning_open: bool = False
    is_chat: bool = False
    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one completion took; times in seconds of wall clock.

    ``queue_s``: from submission to the first row computed, ``prefill_s``: from there to the first
    token, ``decode_s``: from there to the last. ``completion_tokens`` counts a closing stop id and
    includes ``reasoning_tokens``.
    """

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    queue_s: float
    prefill_s: float
    decode_s: float


@dataclass(frozen=True, slots=True)
class Increment:
    """What one step adds to completion ``index`` of a request.

    Text may lag behind the tokens (half a character, a possible stop string) and is never taken
    back. ``finish_reason`` and ``usage`` come with the last increment and only then.
    """

    request_id: str
    index: int
    text: str = ""
    reasoning: str = ""
    calls: tuple[CallEvent, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """One whole answer; ``logprobs`` has an entry per token, or is None if not asked for.

    ``tool_calls`` are those the model wants made; one with an ``error`` cannot be.
    """

    text: str
    reasoning: str
    token_ids: list[int]
    logprobs: list[LogprobEntry] | None
    finish_reason: FinishReason
    usage: Usage
    index: int = 0
    tool_calls: list[ToolCall] = field(default_factory=list)
