"""Running requests through an engine to their end, and what the model itself would have said."""

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np

from tests.engine.fake_model import EOS, FakeModel, logits_after
from wazn.engine.engine import Engine
from wazn.engine.params import SamplingParams
from wazn.engine.request import Increment, Request

_numbers: Iterator[int] = count()

GREEDY = SamplingParams(temperature=0, max_tokens=20, ignore_eos=True)


def request(prompt: Sequence[int], params: SamplingParams = GREEDY) -> Request:
    return Request(f"request {next(_numbers)}", list(prompt), params)


def prompt_of(length: int, seed: int = 0) -> list[int]:
    ids: list[int] = np.random.default_rng(seed).integers(0, 256, length).tolist()
    return ids


def engine_of(pages: int = 1000, context: int | None = None, **fields: object) -> Engine:
    """An engine over a FakeModel of these fields; its cache has so many pages.

    Of a model with a state, slots for ``state_slots`` sequences come on top.
    """
    slots = fields.pop("state_slots", 0)
    assert isinstance(slots, int)
    model = FakeModel(**fields)  # type: ignore[arg-type]
    slots = min(slots, model.max_rows)  # more would never be used
    if not slots:
        return Engine(model, context, pages * model.page_bytes)
    # A quarter of the budget goes to states, one of them outside of any sequence.
    model.state_bytes = max(pages * model.page_bytes // (3 * (slots + 1)), 1)
    return Engine(model, context, pages * model.page_bytes + (slots + 1) * model.state_bytes)


def finish(engine: Engine, increments: list[Increment] | None = None) -> list[Increment]:
    """All increments until the engine has no work left."""
    increments = [] if increments is None else increments
    while engine.has_work:
        increments += engine.step()
    return increments


def tokens(increments: list[Increment], request_id: str, index: int = 0) -> list[int]:
    """The token ids of one completion."""
    mine = [i for i in increments if (i.request_id, i.index) == (request_id, index)]
    return [token_id for increment in mine for token_id in increment.token_ids]


def last(increments: list[Increment], request_id: str, index: int = 0) -> Increment:
    """The increment that ends one completion."""
    mine = [i for i in increments if (i.request_id, i.index) == (request_id, index)]
    assert [i.finish_reason is not None for i in mine] == [False] * (len(mine) - 1) + [True]
    return mine[-1]


def alone(prompt: Sequence[int], params: SamplingParams = GREEDY) -> list[int]:
    """The tokens of a request that has an engine to itself."""
    engine = engine_of()
    engine.submit(Request("alone", list(prompt), params))
    return tokens(finish(engine), "alone")


def greedy_truth(prompt: Sequence[int], num_tokens: int, stops: bool = False) -> list[int]:
    """The argmax continuation, computed from the histories themselves."""
    history = list(prompt)
    for _ in range(num_tokens):
        history.append(int(logits_after(history).argmax()))
        if stops and history[-1] == EOS:
            break
    return history[len(prompt) :]
