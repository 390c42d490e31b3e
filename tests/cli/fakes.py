"""An LLM without a model: it says what a test tells it to, and remembers what it was asked."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from wazn.engine.params import SamplingParams
from wazn.engine.request import Increment, Usage
from wazn.errors import DoesNotFit
from wazn.text.answers.events import CallEvent

PARIS = "The capital of France is Paris."


@dataclass(frozen=True)
class Reply:
    """What to say: thinking first, then the answer, one word an increment."""

    text: str = PARIS
    reasoning: str = ""
    calls: tuple[CallEvent, ...] = ()
    finish_reason: str = "stop"
    pause_s: float = 0.0
    error: BaseException | None = None  # raised after the last word


class FakeStream(Iterator[Increment]):
    """Like ``wazn.engine.sinks.Stream``."""

    def __init__(self, reply: Reply, prompt_tokens: int) -> None:
        self.is_closed = False
        self._increments = self._play(reply, prompt_tokens)

    def __next__(self) -> Increment:
        return next(self._increments)

    def close(self) -> None:
        self.is_closed = True

    def __enter__(self) -> "FakeStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _play(self, reply: Reply, prompt_tokens: int) -> Iterator[Increment]:
        parts = [("reasoning", word) for word in _words(reply.reasoning)]
        parts += [("text", word) for word in _words(reply.text)]
        for number, (kind, word) in enumerate(parts):
            time.sleep(reply.pause_s)
            yield Increment("1", 0, token_ids=(number,), **{kind: word})  # type: ignore[arg-type]
        for event in reply.calls:
            yield Increment("1", 0, calls=(event,))
        if reply.error is not None:
            raise reply.error
        usage = Usage(prompt_tokens, len(parts), len(_words(reply.reasoning)), 0.0, 0.5, 0.25)
        yield Increment("1", 0, finish_reason=reply.finish_reason, usage=usage)  # type: ignore[arg-type]


@dataclass
class FakeLLM:
    """Gives ``replies`` in turn, the last one for ever."""

    replies: list[Reply] = field(default_factory=lambda: [Reply()])
    context: int = 100
    suggested_system: str | None = None
    prompts: list[Any] = field(default_factory=list)
    params: list[SamplingParams] = field(default_factory=list)
    variables: list[Mapping[str, Any]] = field(default_factory=list)
    streams: list[FakeStream] = field(default_factory=list)

    @property
    def engine(self) -> Any:
        return SimpleNamespace(limits=SimpleNamespace(context=self.context))

    @property
    def model(self) -> Any:
        return SimpleNamespace(suggested_system=self.suggested_system)

    def thinking_variables(self, *, on: bool) -> dict[str, Any]:
        return {"enable_thinking": on}

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        params: SamplingParams,
        *,
        stream: bool,
        **variables: Any,
    ) -> FakeStream:
        assert stream
        self.variables.append(variables)
        text = " ".join(message["content"] for message in messages)
        return self._reply([dict(message) for message in messages], text, params)

    def stream(self, prompt: str, params: SamplingParams) -> FakeStream:
        return self._reply(prompt, prompt, params)

    def _reply(self, prompt: Any, text: str, params: SamplingParams) -> FakeStream:
        num_tokens = len(text.split())
        if num_tokens >= self.context:
            raise DoesNotFit(
                f"prompt has {num_tokens} tokens; this model's context is {self.context}."
            )
        self.prompts.append(prompt)
        self.params.append(params)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        self.streams.append(FakeStream(reply, num_tokens))
        return self.streams[-1]


@dataclass
class FakeOpening:
    """Stands where ``open_llm`` stands, and remembers its arguments."""

    llm: FakeLLM
    model: str | None = None
    options: Any = None

    def __call__(self, reference: str, options: Any) -> FakeLLM:
        self.model, self.options = reference, options
        return self.llm


def install(patch: pytest.MonkeyPatch, *replies: Reply, context: int = 100) -> FakeOpening:
    """Commands that load a model get a fake one."""
    opening = FakeOpening(FakeLLM(list(replies) or [Reply()], context))
    patch.setattr("wazn.cli.loading.open_llm", opening)
    return opening


def _words(text: str) -> list[str]:
    return [word + " " for word in text.split(" ")[:-1]] + text.split(" ")[-1:] if text else []


if __name__ == "__main__":  # `python fakes.py PAUSE_S COMMAND…` is wazn with a fake model
    pause_s, *arguments = sys.argv[1:]
    install(pytest.MonkeyPatch(), Reply(pause_s=float(pause_s), reasoning="Let me think."))
    from wazn.cli.main import main

    main(arguments)
