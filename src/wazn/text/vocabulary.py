"""One description of a tokenizer, whatever file it came from: what every reader here produces.

A vocabulary holds the tokens by id, how they merge, how text is prepared, how tokens are spelled
in bytes, and which ids are special. It encodes nothing: ``sandboxed.encoder`` is built from its
form as plain JSON.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from wazn.errors import BadFile
from wazn.text.json_file import JSON

MAX_TOKENS = 1_000_000
"""Ids in one vocabulary; the largest known open model has 262,144."""

MARKERS = frozenset(
    {
        *("<think>", "</think>", "<seed:think>", "</seed:think>"),
        *("<tool_call>", "</tool_call>", "<seed:tool_call>", "</seed:tool_call>"),
        *("<response>", "</response>"),
    }
)
"""Special tokens that are part of the answer: reasoning and tool calls are parsed from them."""

STOP_TOKENS = frozenset(
    {
        *("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"),
        *("<｜end▁of▁sentence｜>", "<seed:eos>", "<|end_of_sentence|>", "<|eot|>"),
        *("<|return|>", "<|call|>", "<|separator|>"),
    }
)
"""Special tokens that end a turn in the families served here, for files that list too few ids."""


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is found in the text before anything else is done to it."""

    id: int
    special: bool
    normalized: bool = False
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A tokenizer's facts.

    ``tokens`` by id, None where an id is unused. ``merges``: left and right part of each, in order
    of rank; ``scores`` instead for a Unigram model. ``spelling``: tokens are written in the
    byte-level alphabet, or as text with ▁ for a space and <0xNN> for single bytes.
    """

    tokens: Sequence[str | None]
    spelling: Literal["byte-level", "sentencepiece"]
    merges: Sequence[tuple[str, str]] = ()
    scores: Sequence[float] | None = None
    added: Sequence[AddedToken] = ()
    normalizer: JSON = None
    pre_tokenizer: JSON = None
    unknown_id: int | None = None
    fuse_unknown: bool = False
    byte_fallback: bool = False
    ignore_merges: bool = False
    strips_leading_space: bool = False
    bos_id: int | None = None
    eos_id: int | None = None
    stop_ids: Sequence[int] = field(default=())
    adds_bos: bool = False
    adds_eos: bool = False

    def document(self) -> dict[str, Any]:
        """The same as plain JSON values; lists are shared, not copied."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["added"] = [asdict(token) for token in self.added]
        return values


def check_tokens(tokens: Sequence[str | None], name: str) -> None:
    """BadFile when there are too many tokens or one appears twice."""
    if not 0 < len(tokens) <= MAX_TOKENS:
        raise BadFile(f"{name} has {len(tokens)} entries; 1 to {MAX_TOKENS} are possible.")
    if len(set(tokens) - {None}) == len(tokens) - tokens.count(None):
        return
    ids: dict[str, int] = {}
    for id, token in enumerate(tokens):
        if token is not None and ids.setdefault(token, id) != id:
            raise BadFile(f"{name}[{id}] repeats the token {token[:80]!r} of id {ids[token]}.")


def index_tokens(tokens: Sequence[str | None], name: str) -> dict[str, int]:
    """Token → id, after ``check_tokens``."""
    check_tokens(tokens, name)
    return {token: id for id, token in enumerate(tokens) if token is not None}


def check_merges(vocabulary: Vocabulary) -> None:
    """BadFile naming the merge whose parts or whole are no tokens.

    The library that encodes finds such a merge, but does not say which one it is.
    """
    tokens = frozenset(vocabulary.tokens)
    for index, (left, right) in enumerate(vocabulary.merges):
        for token in (left, right, left + right):
            if token not in tokens:
                raise BadFile(
                    f"merges[{index}] of the tokenizer needs the token {token[:80]!r}, "
                    "which is not in the vocabulary."
                )


def check_id(value: object, count: int, name: str) -> int:
    """The value as a token id of a vocabulary of that size; BadFile names the field."""
    if type(value) is not int or not 0 <= value < count:
        raise BadFile(f"{name} is {str(value)[:40]}; token ids go from 0 to {count - 1}.")
    return value


def find_stop_ids(tokens: Sequence[str | None], added: Iterable[AddedToken]) -> set[int]:
    """Ids of the special tokens that are known to end a turn."""
    return {one.id for one in added if one.special and tokens[one.id] in STOP_TOKENS}
