"""A request that has been checked: what all of its completions share, ready to use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wazn.engine.defaults import Sampling
from wazn.engine.request import Request


@dataclass(frozen=True, slots=True)
class Plan:
    """``prompt_ids`` (n,); ``max_length`` is in tokens, prompt included."""

    request: Request
    prompt_ids: NDArray[np.int32]
    max_length: int
    sampling: Sampling
    stop_ids: frozenset[int]
    seed: int
