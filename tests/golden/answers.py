"""The checked-in answers: which rows of which token sequence, and reading them back."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden.catalogue import VOCAB_SIZE, Tiny
from tests.golden.weights import token_ids

# Around the borders of KV pages (64 positions) and the first few positions.
ROWS = (0, 1, 2, 3, 7, 15, 16, 31, 32, 33, 62, 63, 64, 65, 100, 127, 128, 129, 191, 192, 193, 199)
FORMAT_ROWS = (0, 33, 63, 64, 129)  # for every further number format


def sequence(tiny: Tiny) -> list[int]:
    """The 200 token ids whose logits are stored."""
    return token_ids(f"{tiny.name}/sequence", 200, VOCAB_SIZE)


def stored_logits(tiny: Tiny, key: str) -> NDArray[np.float32]:
    """Reference logits: ``ROWS`` for "F32", else ``FORMAT_ROWS`` (rows, vocabulary)."""
    with np.load(tiny.folder / "logits.npz", allow_pickle=False) as file:
        logits: NDArray[np.float32] = file[key]
    return logits


def continuations(tiny: Tiny) -> list[dict[str, Any]]:
    """Prompts (a text, or last a conversation), their ids and 64 greedy ids each."""
    found: list[dict[str, Any]] = json.loads((tiny.folder / "continuations.json").read_text())
    return found
