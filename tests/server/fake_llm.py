"""A stand-in for ``wazn.LLM`` with deterministic text, and the worker process around it.

The last user message says what to do: ``slow N`` writes N words a hundredth of a second apart,
``die`` ends the process in mid-answer, ``freeze`` stops it there, ``long N`` claims a prompt of N
tokens, ``ponder S`` takes S seconds to prepare, ``think`` answers after some reasoning,
``template`` and ``bug`` fail to prepare, ``cancelled`` tells how many requests were withdrawn;
anything else is repeated word by word. Run as a script it is a worker process.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from wazn.engine.params import SamplingParams
from wazn.engine.protocol import Load
from wazn.engine.request import Increment, Request, TokenLogprob, Usage
from wazn.engine.worker import main
from wazn.errors import BadFile, BadRequest, BadTemplate, DoesNotFit

CONTEXT = 1000
WORD_S = 0.01


class FakeTokenizer:
    """Ids are numbers of words in the order they were first seen."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.ids: dict[str, int] = {}

    def encode(self, text: str) -> list[int]:
        for word in text.split():
            if word not in self.ids:
                self.ids[word] = len(self.words)
                self.words.append(word)
        return [self.ids[word] for word in text.split()]

    def token_bytes(self, token_id: int, /) -> bytes:
        return f" {self.words[token_id]}".encode()


class Answering:
    """One answer of a request while it is written."""

    def __init__(self, request: Request, index: int, words: list[int]) -> None:
        self.request = request
        self.index = index
        self.words = words
        self.num_written = 0


class FakeEngine:
    """Writes one word of every open answer each step."""

    def __init__(self, tokenizer: FakeTokenizer) -> None:
        self.tokenizer = tokenizer
        self.open: list[Answering] = []
        self.num_cancelled = 0

    @property
    def has_work(self) -> bool:
        return bool(self.open)

    def submit(self, request: Request) -> None:
        words = [self.tokenizer.words[token_id] for token_id in request.prompt_ids]
        match words:
            case ["slow", number]:
                words = [f"word{i}" for i in range(int(number))]
            case ["cancelled"]:
                words = [str(self.num_cancelled), "cancelled"]
        ids = self.tokenizer.encode(" ".join(words))[: request.params.max_tokens]
        for index in range(request.params.n):
            self.open.append(Answering(request, index, ids))

    def cancel(self, request_id: str) -> None:
        self.num_cancelled += 1
        self.open = [answer for answer in self.open if answer.request.id != request_id]

    def step(self) -> list[Increment]:
        time.sleep(WORD_S)
        increments = [self._next_word(answer) for answer in self.open]
        self.open = [answer for answer in self.open if answer.num_written < len(answer.words)]
        return increments

    def _next_word(self, answer: Answering) -> Increment:
        token_id = answer.words[answer.num_written]
        word = self.tokenizer.words[token_id]
        if word == "die":
            os._exit(7)
        if word == "freeze":
            time.sleep(600)
        answer.num_written += 1
        is_last = answer.num_written == len(answer.words)
        params = answer.request.params
        is_reasoning = word == "think" and answer.num_written == 1
        usage = Usage(len(answer.request.prompt_ids), answer.num_written, 0, 0.0, 0.0, 0.0)
        return Increment(
            answer.request.id,
            answer.index,
            text="" if is_reasoning else f" {word}",
            reasoning="hmm" if is_reasoning else "",
            token_ids=(token_id,),
            logprobs=None
            if params.logprobs is None
            else (self._scores(token_id, params.logprobs),),
            finish_reason=("length" if params.max_tokens else "stop") if is_last else None,
            usage=usage if is_last else None,
        )

    def _scores(self, token_id: int, num_top: int) -> TokenLogprob:
        top = [(token_id, -0.5), (0, -float("inf"))][:num_top]
        return TokenLogprob(token_id, -0.5, top)


class FakeLLM:
    """What the worker asks of an LLM."""

    def __init__(self, load: Load) -> None:
        if load.model == "broken":
            raise BadFile("the file 'broken' has no header.")
        if load.model == "slow-to-load":
            time.sleep(60)
        self.tokenizer = FakeTokenizer()
        self.engine = FakeEngine(self.tokenizer)
        self._numbers = itertools.count()

    def prepare(
        self, prompt: Sequence[dict[str, str]], params: SamplingParams, /, **variables: Any
    ) -> Request:
        match prompt[-1]["content"].split():
            case ["long", number]:
                raise DoesNotFit(f"the prompt has {number} tokens; the context is {CONTEXT}.")
            case ["ponder", seconds]:
                time.sleep(float(seconds))
            case ["template"]:
                raise BadTemplate("the chat template raised an error: roles must alternate.")
            case ["bug"]:
                raise ZeroDivisionError("a fault of the engine")
            case []:
                raise BadRequest("the prompt is empty.")
        if "shout" in variables:
            prompt = [{"content": prompt[-1]["content"].upper()}]
        ids = self.tokenizer.encode(prompt[-1]["content"])
        return Request(str(next(self._numbers)), ids, params)

    def close(self) -> None:
        pass


if __name__ == "__main__":
    sys.exit(main(FakeLLM))
