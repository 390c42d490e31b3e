"""POST /v1/chat/completions: from a body to an answer, whole or streamed.

The path of a request through the server: read, check, hand to the worker, wait until it is
accepted, reply. A stream starts only after the worker has accepted, so that whatever is wrong with
a request has its proper status.
"""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from wazn.engine.answers import Answer
from wazn.server.bodies import read_body, while_connected
from wazn.server.fields import ignored_header
from wazn.server.replies import Choice, ReplyIdentity, TokenCount
from wazn.server.schemas import parse_chat_completion
from wazn.server.served_models import ServedModels
from wazn.server.stream import EventStream, StreamedReply


class ChatCompletions:
    """The endpoint over these models; ``lenient`` lets unknown fields pass."""

    def __init__(self, models: ServedModels, *, lenient: bool) -> None:
        self._models = models
        self._is_lenient = lenient

    async def create(self, request: Request) -> Response:
        """Answers one request."""
        body = await read_body(request)
        chat, ignored = parse_chat_completion(body, lenient=self._is_lenient)
        model = self._models.find(chat.model)
        params = chat.sampling_params()
        messages = [message.for_template() for message in chat.messages]
        headers = ignored_header(ignored)
        identity = ReplyIdentity(model.name)
        answer = model.open(messages, params, chat.chat_template_kwargs or {})
        try:
            prompt_tokens = await while_connected(request, answer.accepted())
            if chat.stream:
                reply = StreamedReply(
                    identity, answer, params.n, prompt_tokens, chat.includes_usage
                )
                return EventStream(reply, headers)
            work = _whole(identity, answer, params.n, prompt_tokens)
            content = await while_connected(request, work)
        except BaseException:
            answer.close()
            raise
        return Response(content, headers=headers, media_type="application/json")


async def _whole(
    identity: ReplyIdentity, answer: Answer, num_answers: int, prompt_tokens: int
) -> bytes:
    """The reply as one JSON object, once every answer is finished."""
    choices = [Choice(index) for index in range(num_answers)]
    usage = TokenCount(prompt_tokens)
    async for increment in answer:
        choices[increment.index].add(increment)
        usage.add(increment)
    reply = identity.envelope("chat.completion", [choice.as_json() for choice in choices])
    return msgspec.json.encode({**reply, "usage": usage.as_json()})
