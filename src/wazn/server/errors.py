"""From what went wrong to what an OpenAI client expects: a status, an error object, headers.

One table. Knows no routes. An error that is not in the table is a fault of ours: status 500, and
its text stays in the log.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import NamedTuple

import msgspec

from wazn.engine.answers import QueueFull
from wazn.engine.params import SamplingParams
from wazn.engine.supervisor import Unavailable
from wazn.errors import BadRequest, BadTemplate, DoesNotFit, EngineFailed, WaznError

_SAMPLING_FIELDS = frozenset(field.name for field in fields(SamplingParams))
_INTERNAL = "the server failed to handle this request; its log has the details."


class Kind(NamedTuple):
    """How an error is shown: HTTP status, OpenAI's type and code, and the parameter at fault."""

    status: int
    type: str
    code: str
    param: str | None = None


class RequestRefused(WaznError):
    """A request that HTTP or OpenAI's schema does not allow."""

    def __init__(self, message: str, kind: Kind) -> None:
        super().__init__(message)
        self.kind = kind


class ErrorDetail(msgspec.Struct):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(msgspec.Struct):
    """The body of every answer that is an error."""

    error: ErrorDetail


_KINDS: dict[type[Exception], Kind] = {  # the first that matches counts
    QueueFull: Kind(429, "rate_limit_error", "queue_full"),
    Unavailable: Kind(503, "server_error", "model_unavailable"),
    DoesNotFit: Kind(400, "invalid_request_error", "context_length_exceeded", "messages"),
    BadTemplate: Kind(400, "invalid_request_error", "chat_template_failed", "messages"),
    BadRequest: Kind(400, "invalid_request_error", "invalid_value"),
    EngineFailed: Kind(500, "server_error", "engine_failed"),
}


def kind_of(error: Exception) -> Kind:
    """The row of the table for this error."""
    if isinstance(error, RequestRefused):
        return error.kind
    for error_class, kind in _KINDS.items():
        if isinstance(error, error_class):
            return kind._replace(param=kind.param or _named_parameter(error))
    return Kind(500, "server_error", "internal_error")


def error_body(error: Exception) -> bytes:
    """The error object as JSON."""
    kind = kind_of(error)
    message = _INTERNAL if kind.code == "internal_error" else str(error)
    return msgspec.json.encode(ErrorBody(ErrorDetail(message, kind.type, kind.param, kind.code)))


def error_headers(error: Exception) -> dict[str, str]:
    """The headers that go with the error."""
    if isinstance(error, QueueFull | Unavailable):
        return {"retry-after": str(error.retry_after_s)}
    if kind_of(error).status == 401:
        return {"www-authenticate": "Bearer"}
    return {}


def _named_parameter(error: Exception) -> str | None:
    """SamplingParams begins its messages with the field's name."""
    match = re.match(r"([a-z_]+)(\[\d+\])? is ", str(error))
    return match[1] if match and match[1] in _SAMPLING_FIELDS else None
