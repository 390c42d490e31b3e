"""A reply as server-sent events, and what happens when the client stops listening.

Knows the wire format of OpenAI's streams: one JSON object an event, ``[DONE]`` at the end of a
complete one. A stream that fails ends with an event that holds the error object, without
``[DONE]``: it must not look complete.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from wazn.engine.answers import Answer
from wazn.errors import WaznError
from wazn.server.errors import error_body
from wazn.server.replies import ReplyIdentity, TokenCount, delta_of, first_delta

_DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class StreamedReply:
    """What one stream tells."""

    identity: ReplyIdentity
    answer: Answer
    num_answers: int
    prompt_tokens: int
    includes_usage: bool

    async def events(self) -> AsyncIterator[bytes]:
        """The events, the first of them before there is any text."""
        usage = TokenCount(self.prompt_tokens)
        for index in range(self.num_answers):
            yield self._event([first_delta(index)])
        try:
            async for increment in self.answer:
                usage.add(increment)
                choice = delta_of(increment)
                if choice is not None:
                    yield self._event([choice])
        except WaznError as error:
            yield b"data: %b\n\n" % error_body(error)
            return
        if self.includes_usage:
            yield self._event([], usage)
        yield _DONE

    def _event(self, choices: list[dict[str, Any]], usage: TokenCount | None = None) -> bytes:
        chunk = self.identity.envelope("chat.completion.chunk", choices)
        if self.includes_usage:
            chunk["usage"] = usage and usage.as_json()
        return b"data: %b\n\n" % msgspec.json.encode(chunk)


class EventStream(StreamingResponse):
    """The response; when it ends, for whatever reason, so does the work for it."""

    media_type = "text/event-stream"

    def __init__(self, reply: StreamedReply, headers: Mapping[str, str]) -> None:
        super().__init__(reply.events(), headers={"cache-control": "no-store", **headers})
        self._answer = reply.answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.close()
