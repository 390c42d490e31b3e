"""llama.cpp through the low-level interface of llama-cpp-python, with the settings it comes with.

Float16 KV cache, flash attention on, one stream per sequence, batches of 512.
Batches are filled and tokens are chosen with numpy, so that Python costs it next to nothing. The
package is imported when an engine is made; this module knows nothing of wazn's own engine.
"""

from __future__ import annotations

import time
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wazn.bench.workload import DECODED_TOKENS, Prompts
from wazn.errors import BadFile, BadRequest, DoesNotFit, EngineFailed

NAME = "llama.cpp"
BATCH_ROWS = 512
CONTEXT_STEP = 256  # llama.cpp rounds the positions of a sequence up to these


def require() -> None:
    """BadRequest with the remedy if llama-cpp-python is not installed."""
    if find_spec("llama_cpp") is None:
        raise BadRequest(
            "--against llama.cpp needs llama-cpp-python, which is not installed here. "
            "Install it with: pip install 'wazn[bench]'"
        )


class LlamaCpp:
    """A GGUF file loaded by llama.cpp; a ``Contender``, and a source of logits for comparisons."""

    name = NAME

    def __init__(self, path: Path, threads: int) -> None:
        require()
        self._library: Any = import_module("llama_cpp")
        # ctypes keeps no reference to a callback, so the object must.
        self._silence = self._library.llama_log_callback(lambda *_: None)
        self._library.llama_log_set(self._silence, None)
        self._library.llama_backend_init()
        self.version = str(self._library.__version__)
        self._threads = threads
        self._model = self._library.llama_model_load_from_file(
            str(path).encode(), self._library.llama_model_default_params()
        )
        if not self._model:
            raise BadFile(f"llama.cpp {self.version} cannot load {path}.")
        vocabulary = self._library.llama_model_get_vocab(self._model)
        self.vocab_size = int(self._library.llama_vocab_n_tokens(vocabulary))
        self._contexts: dict[tuple[int, int], _Context] = {}

    def prefill(self, prompts: Prompts) -> float:
        """See ``Contender``."""
        context = self._context(len(prompts), len(prompts[0]) + DECODED_TOKENS)
        start = time.perf_counter()
        context.read(prompts)
        return time.perf_counter() - start

    def decode(self, prompts: Prompts) -> float:
        """See ``Contender``."""
        context = self._context(len(prompts), len(prompts[0]) + DECODED_TOKENS)
        tokens = context.read(prompts)
        everyone = np.arange(len(prompts))
        start = time.perf_counter()
        for position in range(len(prompts[0]), len(prompts[0]) + DECODED_TOKENS):
            tokens = context.run(tokens, np.full(len(prompts), position), everyone).argmax(axis=1)
        return time.perf_counter() - start

    def work(self) -> dict[str, int]:
        """See ``Contender``: llama.cpp does not say."""
        return {}

    def logits(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Next-token logits after each of at most 512 tokens, (tokens, vocab)."""
        context = self._context(1, len(token_ids))
        context.clear()
        rows = np.arange(len(token_ids))
        return context.run(token_ids, rows, np.zeros_like(rows)).copy()

    def close(self) -> None:
        """Free the model and its contexts."""
        for context in self._contexts.values():
            context.close()
        self._contexts.clear()
        self._library.llama_model_free(self._model)

    def _context(self, users: int, positions: int) -> _Context:
        key = users, -(-positions // CONTEXT_STEP) * CONTEXT_STEP
        if key not in self._contexts:
            self._contexts[key] = _Context(self._library, self._model, self._threads, *key)
        self._contexts[key].clear()
        return self._contexts[key]


class _Context:
    """KV cache and compute buffers for a number of sequences, and one batch to fill."""

    def __init__(self, library: Any, model: Any, threads: int, users: int, positions: int) -> None:
        self._library = library
        params = library.llama_context_default_params()
        params.n_ctx, params.n_seq_max = users * positions, users
        params.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.n_batch = params.n_ubatch = BATCH_ROWS
        params.n_threads = params.n_threads_batch = threads
        self._handle = library.llama_init_from_model(model, params)
        if not self._handle:
            raise DoesNotFit(f"llama.cpp cannot open a context for {users} sequences.")
        self._batch = library.llama_batch_init(BATCH_ROWS, 0, 1)
        fields = ("token", "pos", "n_seq_id", "logits")
        self._columns = {
            field: np.ctypeslib.as_array(getattr(self._batch, field), (BATCH_ROWS,))
            for field in fields
        }
        self._columns["n_seq_id"][:] = 1
        vocabulary = library.llama_model_get_vocab(model)
        self._vocab_size = int(library.llama_vocab_n_tokens(vocabulary))

    def clear(self) -> None:
        """Forget all sequences."""
        self._library.llama_memory_clear(self._library.llama_get_memory(self._handle), True)

    def read(self, prompts: Prompts) -> NDArray[np.int64]:
        """Take in one prompt after another; the first token of each, (prompts,)."""
        first = [self._read_one(np.asarray(prompt), i) for i, prompt in enumerate(prompts)]
        return np.array(first)

    def _read_one(self, prompt: NDArray[np.int64], sequence: int) -> int:
        for start in count(0, BATCH_ROWS):
            rows = np.arange(start, min(start + BATCH_ROWS, len(prompt)))
            wanted = rows == len(prompt) - 1
            logits = self.run(prompt[rows], rows, np.full(len(rows), sequence), wanted)
            if wanted.any():
                break
        return int(logits[0].argmax())

    def run(
        self,
        tokens: NDArray[np.int64],
        positions: NDArray[np.int64],
        sequences: NDArray[np.int64],
        wanted: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """One batch; a view of the logits of the wanted rows (default: all), (wanted, vocab)."""
        num_rows = len(tokens)
        columns = self._columns
        columns["token"][:num_rows] = tokens
        columns["pos"][:num_rows] = positions
        columns["logits"][:num_rows] = 1 if wanted is None else wanted
        for row, sequence in enumerate(sequences.tolist()):
            self._batch.seq_id[row][0] = sequence
        self._batch.n_tokens = num_rows
        status = self._library.llama_decode(self._handle, self._batch)
        if status:
            raise EngineFailed(f"llama_decode failed with status {status}.")
        num_wanted = int(columns["logits"][:num_rows].sum())
        if not num_wanted:
            return np.empty((0, self._vocab_size), np.float32)
        values = self._library.llama_get_logits(self._handle)
        return np.ctypeslib.as_array(values, (num_wanted, self._vocab_size))

    def close(self) -> None:
        """Free the native memory; the views of it die with it."""
        self._library.llama_batch_free(self._batch)
        self._library.llama_free(self._handle)
