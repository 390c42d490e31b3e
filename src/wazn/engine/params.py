"""What a caller may ask of sampling, checked field by field.

Knows the legal values and nothing of models: token ids are checked against the vocabulary and
``max_tokens`` against the context when a request is submitted. Imports no numpy, so that a server
can check a request without loading the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from wazn.errors import BadRequest

MAX_COMPLETIONS = 128
MAX_LOGPROBS = 20
MAX_STOPS = 64
MAX_STOP_LENGTH = 1000  # characters; bounds the search that follows every token
SEED_RANGE = (-(2**63), 2**64 - 1)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to continue a prompt; every illegal value raises BadRequest naming field and value.

    ``None`` means: ``max_tokens``: until the context (or the KV memory) is full. ``temperature``,
    ``top_k``, ``top_p``, ``min_p``, ``typical_p``, ``repetition_penalty``: the model's own
    generation default; where the model states none: temperature 1, everything else off. With
    ``temperature=0`` the model's defaults are not consulted: greedy is the argmax of the logits
    (lowest id on ties) after what this object itself sets. ``seed``: a fresh one per request.
    ``logprobs``: none are returned.

    The logits go through, in this order: repetition penalty (ids of prompt and answer), presence
    and frequency penalty (answer only), ``logit_bias``, the ban on stop ids before ``min_tokens``,
    temperature, ``top_k`` (0 or -1: all; ties with the last kept token stay), ``typical_p``,
    ``top_p``, ``min_p``; each filter sees the renormalised rest of the one before. Log
    probabilities are those of the model itself, before any of this.

    ``stop`` strings are matched in the text across token borders and cut off; text written before
    ``min_tokens`` is not searched. A stop id ends the answer, counts as a token of it and has no
    text. ``ignore_eos`` makes the model's own stop ids ordinary; ``stop_token_ids`` still stop.
    ``logprobs=k``: each token's log probability and the ``k`` most likely ones (0 to 20). ``n``
    answers are drawn from streams derived from (seed, 0 … n-1): the first is what ``n=1`` gives.
    ``thinking_budget``: tokens a conversation's answer may think; then its family's ending is
    written for it, and it goes on with the answer. Tokens so forced have no log probability.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = None
    seed: int | None = None
    stop: Sequence[str] | None = None
    stop_token_ids: Sequence[int] | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    logprobs: int | None = None
    n: int = 1
    thinking_budget: int | None = None

    def __post_init__(self) -> None:
        _check_int("max_tokens", self.max_tokens, 1, None)
        _check_number("temperature", self.temperature, 0, 100)
        _check_int("top_k", self.top_k, -1, None)
        _check_number("top_p", self.top_p, 0, 1)
        _check_number("min_p", self.min_p, 0, 1)
        _check_number("typical_p", self.typical_p, 0, 1)
        _check_number("repetition_penalty", self.repetition_penalty, 0.01, 100)
        _check_number("presence_penalty", self.presence_penalty, -2, 2, required=True)
        _check_number("frequency_penalty", self.frequency_penalty, -2, 2, required=True)
        _check_int("seed", self.seed, *SEED_RANGE)
        _check_int("min_tokens", self.min_tokens, 0, None, required=True)
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            _refuse("min_tokens", self.min_tokens, f"at most max_tokens={self.max_tokens}")
        if not isinstance(self.ignore_eos, bool):
            _refuse("ignore_eos", self.ignore_eos, "True or False")
        _check_int("logprobs", self.logprobs, 0, MAX_LOGPROBS)
        _check_int("n", self.n, 1, MAX_COMPLETIONS, required=True)
        _check_int("thinking_budget", self.thinking_budget, 0, None)
        object.__setattr__(self, "stop", _stop_strings(self.stop))
        object.__setattr__(self, "stop_token_ids", _token_ids(self.stop_token_ids))
        object.__setattr__(self, "logit_bias", _biases(self.logit_bias))


def _refuse(field: str, value: object, expected: str) -> NoReturn:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    raise BadRequest(f"{field} is {shown}; it must be {expected}.")


def _check_int(
    field: str, value: object, low: int, high: int | None, required: bool = False
) -> None:
    if value is None and not required:
        return
    if isinstance(value, int) and not isinstance(value, bool):
        if low <= value and (high is None or value <= high):
            return
    limits = f"from {low} to {high}" if high is not None else f"of at least {low}"
    _refuse(field, value, f"a whole number {limits}")


def _check_number(
    field: str, value: object, low: float, high: float, required: bool = False
) -> None:
    if value is None and not required:
        return
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return  # NaN compares false, so it does not get here
    _refuse(field, value, f"a number from {low} to {high}")


def _stop_strings(stop: object) -> tuple[str, ...]:
    if stop is None:
        return ()
    strings = (stop,) if isinstance(stop, str) else stop
    if (
        not isinstance(strings, Sequence)
        or len(strings) > MAX_STOPS
        or not all(isinstance(s, str) and 0 < len(s) <= MAX_STOP_LENGTH for s in strings)
    ):
        limits = f"{MAX_STOPS} strings of 1 to {MAX_STOP_LENGTH} characters"
        _refuse("stop", stop, f"a string or a list of up to {limits}")
    return tuple(strings)


def _token_ids(ids: object) -> tuple[int, ...]:
    if ids is None:
        return ()
    if not isinstance(ids, Sequence) or isinstance(ids, str | bytes):
        _refuse("stop_token_ids", ids, "a list of token ids")
    for token_id in ids:
        _check_int("stop_token_ids", token_id, 0, None, required=True)
    return tuple(ids)


def _biases(biases: object) -> dict[int, float]:
    if biases is None:
        return {}
    if not isinstance(biases, Mapping):
        _refuse("logit_bias", biases, "a mapping of token id to bias")
    for token_id, bias in biases.items():
        _check_int("logit_bias", token_id, 0, None, required=True)
        _check_number(f"logit_bias[{token_id}]", bias, -100, 100, required=True)
    return dict(biases)
