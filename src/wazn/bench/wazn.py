"""wazn as a contender: the engine that users get, driven step by step.

Everything a request pays for is inside the measured time: scheduling, the choice of the token, the
text that is made of it. Knows nothing of other contenders.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import wazn
from wazn.bench.workload import DECODED_TOKENS, Prompts
from wazn.engine.engine import Engine
from wazn.engine.params import SamplingParams
from wazn.engine.request import Request
from wazn.engine.scheduler import PROMPT_ROWS_BESIDE_DECODING
from wazn.errors import EngineFailed
from wazn.models.load import load_model
from wazn.weights.choice import Weights

NAME = "wazn"


class Wazn:
    """A model loaded by wazn; a ``Contender``, which also knows what its work amounts to."""

    name = NAME

    def __init__(self, path: Path, threads: int, weights: Weights = "native") -> None:
        self.version = wazn.__version__
        self.model = load_model(path, threads=threads, precision="fast", kv="auto", weights=weights)
        self._engine = Engine(self.model)
        self.sampling = SamplingParams(temperature=0)
        self.vocab_size = self.model.config.vocab_size
        self._serial = count()

    def work(self) -> dict[str, int]:
        """See ``Contender``."""
        return {
            "weight_bytes": self.model.bytes_per_step,
            "position_bytes": self.model.kv_bytes_per_position,
            "prefill_macs": self.model.macs_per_token,
        }

    def prefill(self, prompts: Prompts) -> float:
        """See ``Contender``."""
        start = time.perf_counter()
        self._submit(prompts, max_tokens=1)
        while self._engine.has_work:
            self._engine.step()
        return time.perf_counter() - start

    def decode(self, prompts: Prompts, before: Callable[[], None] = lambda: None) -> float:
        """See ``Contender``. ``before`` is called when the measured time is about to begin.

        Sequences whose prompts are read first begin to decode while the others are read. Those
        steps are not timed; the timed ones advance every sequence by one token.
        """
        steps_before = sum(map(len, prompts)) // PROMPT_ROWS_BESIDE_DECODING + len(prompts)
        ids = self._submit(prompts, max_tokens=DECODED_TOKENS + steps_before + 1)
        waiting = set(ids)
        while waiting:
            waiting -= {increment.request_id for increment in self._engine.step()}
        before()
        start = time.perf_counter()
        num_decoded = sum(len(self._engine.step()) for _ in range(DECODED_TOKENS))
        elapsed = time.perf_counter() - start
        for request_id in ids:
            self._engine.cancel(request_id)
        while self._engine.has_work:
            self._engine.step()
        if num_decoded != DECODED_TOKENS * len(prompts):
            raise EngineFailed(f"{DECODED_TOKENS} steps decoded {num_decoded} tokens.")
        return elapsed

    def close(self) -> None:
        """Free the model."""
        self.model.close()

    def _submit(self, prompts: Prompts, max_tokens: int) -> list[str]:
        params = replace(self.sampling, max_tokens=max_tokens, ignore_eos=True)
        requests = [Request(f"bench-{next(self._serial)}", list(p), params) for p in prompts]
        for request in requests:
            self._engine.submit(request)
        return [request.id for request in requests]
