"""A model whose logits depend on exactly what a sequence's own pages hold, and nothing else.

It stores each row's token and position in the page that the batch names, and computes the logits
of a row from a hash of the whole history as read back from those pages. A wrong page, position,
order or leak between sequences therefore changes tokens; ``logits_after`` is the plain truth.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wazn import native
from wazn.models.batch import PAGE, Batch
from wazn.text.prompt import Prompt
from wazn.text.tokenizer import Tokenizer
from wazn.text.vocabulary import AddedToken, Vocabulary

BOS, EOS, THINK, END_THINK = 256, 257, 258, 259
VOCAB_SIZE = 264
HIDDEN_SIZE = 8


def logits_after(history: Sequence[int]) -> NDArray[np.float32]:
    """The logits (vocab,) that follow ``history``."""
    digest = hashlib.blake2b(np.asarray(history, dtype=np.int32).tobytes(), digest_size=8).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest)))
    return generator.standard_normal(VOCAB_SIZE, dtype=np.float32) * 2


def hidden_after(history: Sequence[int]) -> NDArray[np.float32]:
    """The final hidden state (hidden,) of the last token of ``history``."""
    return logits_after(history)[:HIDDEN_SIZE]


@dataclass(frozen=True, slots=True)
class FakeConfig:
    vocab_size: int = VOCAB_SIZE
    context_length: int = 1024
    hidden_size: int = HIDDEN_SIZE


def byte_letters() -> list[str]:
    """The letter of each byte in the byte-level alphabet."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [value for value in range(256) if value not in visible]
    return [chr(value if value in visible else 256 + hidden.index(value)) for value in range(256)]


def fake_tokenizer(adds_bos: bool = True) -> Tokenizer:
    """One id a byte, then the special tokens; the model has a few ids more."""
    marks = ["<s>", "</s>", "<think>", "</think>"]
    return Tokenizer(
        Vocabulary(
            tokens=[*byte_letters(), *marks],
            spelling="byte-level",
            added=[AddedToken(256 + place, special=True) for place in range(len(marks))],
            pre_tokenizer={
                "type": "ByteLevel",
                "add_prefix_space": False,
                "trim_offsets": False,
                "use_regex": False,
            },
            bos_id=BOS,
            stop_ids=[EOS],
            adds_bos=adds_bos,
        )
    )


class FakeTemplate:
    """``<s>role:content`` a message and an opening for the answer."""

    sources: Mapping[str, str] = {"default": "a template that knows of </think>"}

    def prompt(self, messages: Sequence[Mapping[str, Any]], **variables: Any) -> Prompt:
        turns = "".join(f"{message['role']}:{message['content']}\n" for message in messages)
        opening = "assistant:" if variables["add_generation_prompt"] else ""
        return Prompt("<s>" + turns + opening + str(variables.get("suffix", "")))


@dataclass
class FakeModel:
    """See the module; ``script`` replaces the random answer: its ids follow the prompt in turn."""

    max_rows: int = 16
    config: FakeConfig = FakeConfig()
    pool: native.Pool = field(default_factory=lambda: native.Pool(1))
    page_bytes: int = 1000
    weight_bytes: int = 0
    state_bytes: int = 0  # with some, a sequence goes on only from where its slot's state is
    tokenizer: Tokenizer | None = field(default_factory=fake_tokenizer)
    chat_template: FakeTemplate | None = field(default_factory=FakeTemplate)
    generation_defaults: Mapping[str, float | int] = field(default_factory=dict)
    stop_ids: frozenset[int] = frozenset({EOS})
    suggested_system: str | None = None
    script: Mapping[tuple[int, ...], Sequence[int]] = field(default_factory=dict)
    batches: list[list[int]] = field(default_factory=list)  # rows of each sequence in each step
    error: Exception | None = None
    is_closed: bool = False

    def open_cache(self, num_pages: int, num_slots: int) -> None:
        self.num_pages = num_pages
        self.slot_positions = [0] * num_slots
        self.tokens = np.full((min(num_pages, 100_000), PAGE), -1, dtype=np.int32)
        self.positions = np.full_like(self.tokens, -1)

    def forward(self, batch: Batch, /) -> NDArray[np.float32]:
        histories = self._histories(batch)
        self.batches.append(np.diff(batch.row_starts).tolist())
        rows = [self._scripted(history) for history in histories]
        return np.array(rows, dtype=np.float32).reshape(len(rows), VOCAB_SIZE)

    def hidden(self, batch: Batch, /) -> NDArray[np.float32]:
        return np.array([hidden_after(history) for history in self._histories(batch)])

    def close(self) -> None:
        self.is_closed = True

    def _histories(self, batch: Batch) -> list[list[int]]:
        """Store all rows, then read the history of each wanted row back."""
        check(batch, self)
        if self.state_bytes:
            self._advance_states(batch)
        if self.error is not None:
            raise self.error
        owner = {}
        for sequence, first in enumerate(batch.first_positions.tolist()):
            for row in range(batch.row_starts[sequence], batch.row_starts[sequence + 1]):
                position = first + row - int(batch.row_starts[sequence])
                page = batch.page_tables[sequence, position // PAGE]
                self.tokens[page, position % PAGE] = batch.token_ids[row]
                self.positions[page, position % PAGE] = position
                owner[row] = (sequence, position)
        return [self._history(batch, *owner[row]) for row in batch.logit_rows.tolist()]

    def _advance_states(self, batch: Batch) -> None:
        """What the native core does with the slots of states."""
        assert batch.state_slots is not None
        slots, rows = batch.state_slots.tolist(), np.diff(batch.row_starts).tolist()
        assert len(set(slots)) == len(slots) == len(rows)
        for slot, first, count in zip(slots, batch.first_positions.tolist(), rows, strict=True):
            assert first in (0, self.slot_positions[slot]), "a state goes on elsewhere"
            self.slot_positions[slot] = first + count

    def _history(self, batch: Batch, sequence: int, last: int) -> list[int]:
        pages = batch.page_tables[sequence, : last // PAGE + 1]
        positions = self.positions[pages].ravel()[: last + 1]
        assert np.array_equal(positions, np.arange(last + 1)), "pages hold other positions"
        history: list[int] = self.tokens[pages].ravel()[: last + 1].tolist()
        return history

    def _scripted(self, history: list[int]) -> NDArray[np.float32]:
        for prompt, answer in self.script.items():
            if tuple(history[: len(prompt)]) == prompt:
                logits = np.zeros(VOCAB_SIZE, dtype=np.float32)
                logits[[*answer, EOS][min(len(history) - len(prompt), len(answer))]] = 50
                return logits
        return logits_after(history)


def check(batch: Batch, model: FakeModel) -> None:
    """What the native core relies on."""
    rows, sequences = len(batch.token_ids), len(batch.first_positions)
    for array in (
        batch.token_ids,
        batch.row_starts,
        batch.first_positions,
        batch.page_tables,
        batch.logit_rows,
    ):
        assert array.dtype == np.int32 and array.flags.c_contiguous
    assert 0 < rows <= model.max_rows
    assert batch.page_tables.shape[0] == sequences == len(batch.row_starts) - 1
    assert batch.row_starts[0] == 0 and batch.row_starts[-1] == rows
    assert (np.diff(batch.row_starts) > 0).all()
    assert ((batch.token_ids >= 0) & (batch.token_ids < VOCAB_SIZE)).all()
    assert ((batch.logit_rows >= 0) & (batch.logit_rows < rows)).all()
    used = batch.page_tables[batch.page_tables >= 0]
    assert (used < model.num_pages).all() and len(set(used.tolist())) == len(used)
    lengths = batch.first_positions + np.diff(batch.row_starts)
    for table, length in zip(batch.page_tables, lengths.tolist(), strict=True):
        assert (table[: -(-length // PAGE)] >= 0).all(), "a row without a page"
