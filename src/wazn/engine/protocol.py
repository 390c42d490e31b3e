"""The messages between a server and the worker process of one model: msgpack, one union each way.

Knows shapes and the version, nothing of sockets, models or HTTP. The worker speaks first with
``Hello``; the server answers with ``Load`` or ends the worker. Both carry ``PROTOCOL_VERSION``, and
these two messages keep their names and their ``protocol`` field for ever: a mismatch must always
be readable. Every submitted id gets exactly one last word: ``Rejected``, ``Cancelled``, or the
increments in which each of its answers has a finish reason.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from wazn.engine.params import SamplingParams
from wazn.engine.request import FinishReason, Usage
from wazn.errors import EngineFailed

PROTOCOL_VERSION = 1

Reason: TypeAlias = Literal["bad_request", "does_not_fit", "bad_template", "engine_failed"]


class Message(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    """A message; its class name in lower case is its tag."""


class Load(Message, frozen=True):
    """Server: the first message; what to load and how (``LLM``'s arguments).

    ``cpus``: where to pin the threads, None leaves them free, whatever the settings say.
    """

    protocol: int
    model: str
    threads: int | None = None
    context: int | None = None
    memory_bytes: int | None = None
    precision: Literal["fast", "exact"] = "fast"
    kv: Literal["auto", "float32", "float16", "int8"] = "auto"
    weights: Literal["native", "q8", "q4"] = "native"
    cpus: list[int] | None = None


class Submit(Message, frozen=True):
    """Server: answer a conversation; the worker renders and tokenises it."""

    id: str
    messages: list[dict[str, str]]
    params: SamplingParams
    template_variables: dict[str, Any]


class Cancel(Message, frozen=True):
    """Server: stop working for a request and say ``Cancelled``, whatever became of it."""

    id: str


class Health(Message, frozen=True):
    """Server: answer with ``HealthReport`` between two steps."""


class Drain(Message, frozen=True):
    """Server: the last message; finish what is open, say ``Drained`` and exit."""


class Hello(Message, frozen=True):
    """Worker: the first message."""

    protocol: int


class Ready(Message, frozen=True):
    """Worker: the model is loaded."""


class LoadFailed(Message, frozen=True):
    """Worker: the last message of one that could not load; a sentence for the user."""

    message: str


class Accepted(Message, frozen=True):
    """Worker: the request passed all checks and is in the engine."""

    id: str
    prompt_tokens: int


class Rejected(Message, frozen=True):
    """Worker: the request will not be answered; a sentence for the user."""

    id: str
    reason: Reason
    message: str


class Cancelled(Message, frozen=True):
    """Worker: nothing more is done for this request."""

    id: str


class TokenText(msgspec.Struct, frozen=True, array_like=True):
    """A token as clients want to see it: its text, its exact bytes and its log probability."""

    text: str
    raw: bytes
    logprob: float


class ScoredToken(msgspec.Struct, frozen=True, array_like=True):
    """A chosen token and the most likely ones at its place."""

    chosen: TokenText
    top: list[TokenText]


class TextIncrement(msgspec.Struct, frozen=True, array_like=True):
    """What one step adds to answer ``index`` of request ``id``; the last one has the usage."""

    id: str
    index: int
    text: str
    reasoning: str
    logprobs: list[ScoredToken] | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


class Token(Message, frozen=True):
    """Worker: all that one engine step wrote, over all requests."""

    increments: list[TextIncrement]


class HealthReport(Message, frozen=True):
    """Worker: alive, between two steps."""

    open_requests: int


class Drained(Message, frozen=True):
    """Worker: the last message; everything is finished."""


ServerMessage: TypeAlias = Load | Submit | Cancel | Health | Drain
WorkerMessage: TypeAlias = (
    Hello | Ready | LoadFailed | Accepted | Rejected | Cancelled | Token | HealthReport | Drained
)

encode = msgspec.msgpack.encode
_server_messages: msgspec.msgpack.Decoder[ServerMessage] = msgspec.msgpack.Decoder(ServerMessage)
_worker_messages: msgspec.msgpack.Decoder[WorkerMessage] = msgspec.msgpack.Decoder(WorkerMessage)


def decode_server_message(frame: bytes) -> ServerMessage:
    """One message of the server; EngineFailed if it is not one of this protocol version."""
    try:
        return _server_messages.decode(frame)
    except msgspec.DecodeError as error:
        raise _not_understood("server", error) from error


def decode_worker_message(frame: bytes) -> WorkerMessage:
    """One message of the worker; EngineFailed if it is not one of this protocol version."""
    try:
        return _worker_messages.decode(frame)
    except msgspec.DecodeError as error:
        raise _not_understood("worker", error) from error


def check_version(peer: Literal["server", "worker"], version: int) -> None:
    """EngineFailed with both numbers unless the peer speaks this version."""
    if version != PROTOCOL_VERSION:
        raise EngineFailed(
            f"the {peer} process speaks version {version} of the worker protocol and this process "
            f"version {PROTOCOL_VERSION}; wazn was probably upgraded while it was running: "
            "restart the server."
        )


def _not_understood(peer: str, error: Exception) -> EngineFailed:
    return EngineFailed(
        f"a message of the {peer} process is not of version {PROTOCOL_VERSION} of the worker "
        f"protocol ({error}); restart the server."
    )
