"""What a chat completion request may say: OpenAI's fields and vLLM's extensions, strictly typed.

Turns bytes into a checked request: types here, values in ``SamplingParams``, other fields in
``fields``. The first fault found is the error; nothing is repaired. Knows no model: whether the
prompt fits is for the worker to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from wazn.engine.params import MAX_LOGPROBS, MAX_STOPS, SamplingParams
from wazn.server.errors import Kind, RequestRefused
from wazn.server.fields import (
    CONTENT_PART,
    MESSAGE,
    REQUEST,
    STREAM_OPTIONS,
    Place,
    refused,
    sort_out,
)

MAX_STOP_TOKEN_IDS = 1024
_ROLES = ("system", "developer", "user", "assistant")
_FUTURE_ROLES = ("tool", "function")
_TAKEN = ("self", "messages", "tools")  # by the renderer itself
_SAME_NAME = (
    *("temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty"),
    *("presence_penalty", "frequency_penalty", "logit_bias", "seed", "stop", "stop_token_ids"),
    *("min_tokens", "ignore_eos", "n"),
)
_THINKING_BUDGETS = ("thinking_token_budget", "thinking_budget", "thinking_budget_tokens")

Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]  # what a message to the worker can hold


def _fault(message: str) -> PydanticCustomError:
    return PydanticCustomError("invalid_value", "{message}", {"message": message})


def _known_role(role: str) -> str:
    if role in _FUTURE_ROLES:
        raise _fault(f"the role '{role}' is not supported yet")
    if role not in _ROLES:
        raise _fault(f"the role must be one of {', '.join(_ROLES)}")
    # OpenAI's newer name for the same thing; templates of open models know only the older one.
    return "system" if role == "developer" else role


def _as_parts(content: object) -> object:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        raise _fault("must be a string or a list of text parts")
    return content


def _text_only(part_type: str) -> str:
    if part_type != "text":
        raise _fault(f"parts of type '{part_type[:32]}' are not supported yet, only 'text'")
    return part_type


def _as_list(stop: object) -> object:
    return [stop] if isinstance(stop, str) else stop


def _token_ids_as_keys(biases: object) -> object:
    if not isinstance(biases, dict):
        return biases
    for key in biases:
        if not (key.isascii() and key.isdecimal() and len(key) <= 10):
            raise _fault(f"its keys must be token ids, not '{key[:32]}'")
    return {int(key): bias for key, bias in biases.items()}


def _can_travel(variables: dict[str, Any]) -> dict[str, Any]:
    for name in variables:
        if not name.isidentifier() or name in _TAKEN:
            raise _fault(f"'{name[:32]}' cannot be the name of a template's variable")
    try:
        msgspec.msgpack.encode(variables)
    except OverflowError:
        raise _fault("holds a whole number of more than 64 bits") from None
    return variables


class _Strict(BaseModel):
    """No value is converted; fields that are not declared are kept apart, in ``model_extra``."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class ContentPart(_Strict):
    """A piece of a message's text."""

    type: Annotated[str, AfterValidator(_text_only)]
    text: str


class ChatMessage(_Strict):
    """One message; ``reasoning_content`` is for templates that look at earlier thinking."""

    role: Annotated[str, AfterValidator(_known_role)]
    content: Annotated[list[ContentPart], FailFast(), BeforeValidator(_as_parts)]
    reasoning_content: str | None = None

    def for_template(self) -> dict[str, str]:
        """The message as chat templates know it; parts are joined by line breaks."""
        text = "\n".join(part.text for part in self.content)
        message = {"role": self.role, "content": text}
        if self.reasoning_content is not None:
            message["reasoning_content"] = self.reasoning_content
        return message


class StreamOptions(_Strict):
    """``include_usage``: a last chunk with the token counts."""

    include_usage: bool | None = None


class ChatCompletionRequest(_Strict):
    """The body of POST /v1/chat/completions; null is the same as absent."""

    model: str
    messages: Annotated[list[ChatMessage], FailFast(), Field(min_length=1)]
    max_tokens: Annotated[Int64, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[Int64, Field(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: Int64 | None = None
    stop: Annotated[list[str], Field(max_length=MAX_STOPS), BeforeValidator(_as_list)] | None = None
    seed: Int64 | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Annotated[dict[int, Any], BeforeValidator(_token_ids_as_keys)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # vLLM's extensions
    top_k: Int64 | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    min_tokens: Int64 | None = None
    ignore_eos: bool | None = None
    stop_token_ids: Annotated[list[Int64], Field(max_length=MAX_STOP_TOKEN_IDS)] | None = None
    chat_template_kwargs: Annotated[dict[str, Any], AfterValidator(_can_travel)] | None = None
    # the same under the names of vLLM, of Qwen's services and of llama.cpp
    thinking_token_budget: Annotated[Int64, Field(ge=0)] | None = None
    thinking_budget: Annotated[Int64, Field(ge=0)] | None = None
    thinking_budget_tokens: Annotated[Int64, Field(ge=0)] | None = None

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with a chunk of token counts."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def sampling_params(self) -> SamplingParams:
        """The parameters for the engine; BadRequest or RequestRefused naming a field."""
        values = _given(self, _SAME_NAME)
        if self.logprobs:
            values["logprobs"] = self.top_logprobs or 0
        return SamplingParams(
            max_tokens=self.max_completion_tokens or self.max_tokens,
            thinking_budget=next(iter(_given(self, _THINKING_BUDGETS).values()), None),
            **values,
        )


def parse_chat_completion(body: bytes, *, lenient: bool) -> tuple[ChatCompletionRequest, list[str]]:
    """The request and the names of its ignored fields; RequestRefused naming the first fault."""
    try:
        chat = ChatCompletionRequest.model_validate_json(body)
    except ValidationError as error:
        raise _first_fault(error) from None
    ignored = [
        name
        for extras, place, path in _extras(chat)
        for name in sort_out(extras, place, path=path, lenient=lenient)
    ]
    _check_pairs(chat)
    return chat, ignored


def _extras(chat: ChatCompletionRequest) -> Iterator[tuple[dict[str, Any], Place, str]]:
    """The undeclared fields of each object of the request that has any."""
    yield chat.model_extra or {}, REQUEST, ""
    for index, message in enumerate(chat.messages):
        path = f"messages[{index}]."
        if message.model_extra:
            yield message.model_extra, MESSAGE, path
        for part_index, part in enumerate(message.content):
            if part.model_extra:
                yield part.model_extra, CONTENT_PART, f"{path}content[{part_index}]."
    if chat.stream_options is not None:
        yield chat.stream_options.model_extra or {}, STREAM_OPTIONS, "stream_options."


def _given(chat: ChatCompletionRequest, names: Sequence[str]) -> dict[str, Any]:
    """The fields among these that say something."""
    values = {name: getattr(chat, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _check_pairs(chat: ChatCompletionRequest) -> None:
    for names in (("max_tokens", "max_completion_tokens"), _THINKING_BUDGETS):
        given = _given(chat, names)
        if len(set(given.values())) > 1:
            others = " and ".join([*given][1:])
            first = next(iter(given))
            raise refused(first, f"and {others} differ; give one of them", "invalid_value")
    if chat.top_logprobs is not None and not chat.logprobs:
        raise refused("top_logprobs", 'needs "logprobs": true', "invalid_value")
    if chat.stream_options is not None and not chat.stream:
        raise refused("stream_options", 'needs "stream": true', "invalid_value")


def _first_fault(error: ValidationError) -> RequestRefused:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if fault["type"] == "json_invalid":
        message = f"the body is not JSON: {fault['msg'].removeprefix('Invalid JSON: ')}."
        return RequestRefused(message, Kind(400, "invalid_request_error", "invalid_json"))
    path = _path(fault["loc"])
    if fault["type"] == "missing":
        return refused(path, "is missing", "missing_parameter")
    if not path:
        message = "the body must be a JSON object."
        return RequestRefused(message, Kind(400, "invalid_request_error", "invalid_json"))
    text = fault["msg"][0].lower() + fault["msg"][1:]
    return RequestRefused(
        f"{path}: {text}.", Kind(400, "invalid_request_error", "invalid_value", path)
    )


def _path(location: tuple[int | str, ...]) -> str:
    """``messages[0].content``"""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.lstrip(".")
