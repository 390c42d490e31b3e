"""A vocabulary rebuilt from the metadata of a GGUF file.

GGUF keeps tokens, merges or scores, and token types; how text is cut into words is only a label
(see ``pre_tokenizers``). "gpt2" is byte-level BPE, "llama" is SentencePiece BPE. Everything read
here is checked, because the file may be anybody's. Knows nothing of files: it gets the metadata.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from math import isfinite
from typing import Any

from wazn.errors import BadFile, UnsupportedModel
from wazn.text.merges import merges_from_scores
from wazn.text.pre_tokenizers import SPACE_MARKS, SPACE_MARKS_WITH_PREFIX, find_pre_tokenizer
from wazn.text.vocabulary import (
    AddedToken,
    Vocabulary,
    check_id,
    check_tokens,
    find_stop_ids,
    index_tokens,
)

_NO_ID = 2**32 - 1
"""How some writers say that there is no such token."""


class TokenType(IntEnum):
    """Values of ``tokenizer.ggml.token_type``."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


ADDED_TYPES = (TokenType.UNKNOWN, TokenType.CONTROL, TokenType.USER_DEFINED)


def read_gguf_vocabulary(metadata: Mapping[str, Any]) -> Vocabulary | None:
    """The vocabulary of a GGUF file; None when it has none.

    BadFile names the field that breaks the format, UnsupportedModel the kind or label unknown.
    """
    model = metadata.get("tokenizer.ggml.model", "none")
    if model in ("none", "no_vocab"):
        return None
    if model not in ("gpt2", "llama"):
        raise UnsupportedModel(
            f"tokenizer.ggml.model is {str(model)[:40]!r}; this version reads gpt2 and llama."
        )
    fields = _Fields(metadata)
    return _byte_level(fields) if model == "gpt2" else _sentencepiece(fields)


def _byte_level(fields: "_Fields") -> Vocabulary:
    rule = find_pre_tokenizer(fields.text("pre", "default"))
    tokens = fields.tokens()
    check_tokens(tokens, "tokenizer.ggml.tokens")
    # No token holds a space: the byte-level alphabet writes it as another character.
    halves = (merge.partition(" ") for merge in fields.texts("merges"))
    types = fields.types(len(tokens))
    return Vocabulary(
        tokens=tokens,
        spelling="byte-level",
        merges=[(left, right) for left, _, right in halves],
        normalizer=rule.normalizer,
        pre_tokenizer=rule.steps,
        ignore_merges=rule.ignore_merges,
        adds_bos=fields.flag("add_bos_token", default=rule.adds_bos),
        **_special(fields, tokens, types),
    )


def _sentencepiece(fields: "_Fields") -> Vocabulary:
    if fields.flag("remove_extra_whitespaces", default=False):
        raise UnsupportedModel(
            "tokenizer.ggml.remove_extra_whitespaces is true, which this version cannot do."
        )
    tokens = fields.tokens()
    ids = index_tokens(tokens, "tokenizer.ggml.tokens")
    types = fields.types(len(tokens))
    if not types:
        raise BadFile("tokenizer.ggml.token_type is missing, and SentencePiece needs it.")
    pieces = {token: id for token, id in ids.items() if types[id] == TokenType.NORMAL}
    scores = fields.scores(len(tokens))
    has_bytes = TokenType.BYTE in types
    unknown = types.index(TokenType.UNKNOWN) if TokenType.UNKNOWN in types else None
    adds_space = fields.flag("add_space_prefix", default=True)
    return Vocabulary(
        tokens=tokens,
        spelling="sentencepiece",
        merges=merges_from_scores(pieces, scores, "tokenizer.ggml.tokens"),
        normalizer=SPACE_MARKS_WITH_PREFIX if adds_space else SPACE_MARKS,
        unknown_id=fields.id("unknown_token_id", len(tokens), unknown),
        fuse_unknown=True,
        byte_fallback=has_bytes,
        strips_leading_space=adds_space,
        adds_bos=fields.flag("add_bos_token", default=True),
        **_special(fields, tokens, types, bos_id=1, eos_id=2),
    )


def _special(
    fields: "_Fields",
    tokens: Sequence[str | None],
    types: Sequence[int],
    bos_id: int | None = None,
    eos_id: int | None = None,
) -> dict[str, Any]:
    """The fields of a Vocabulary about special tokens; bos_id and eos_id are the format's own."""
    count = len(tokens)
    added = [
        AddedToken(id, special=type != TokenType.USER_DEFINED)
        for id, type in enumerate(types)
        if type in ADDED_TYPES and tokens[id] is not None
    ]
    control = {token.id for token in added if token.special}
    eos = fields.id("eos_token_id", count, eos_id if eos_id in control else None)
    turn_ends = (fields.id(name, count) for name in ("eot_token_id", "eom_token_id"))
    stops = {id for id in (eos, *turn_ends) if id is not None} | find_stop_ids(tokens, added)
    return {
        "added": added,
        "bos_id": fields.id("bos_token_id", count, bos_id if bos_id in control else None),
        "eos_id": eos,
        "stop_ids": sorted(stops),
        "adds_eos": fields.flag("add_eos_token", default=False),
    }


class _Fields:
    """The ``tokenizer.ggml.*`` metadata, each value checked for its type as it is read."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata

    def _get(self, name: str, default: object, kind: type) -> Any:
        value = self._metadata.get(f"tokenizer.ggml.{name}", default)
        if value is not default and type(value) is not kind:
            raise BadFile(f"tokenizer.ggml.{name} has the type {type(value).__name__}.")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        return bool(self._get(name, default, bool))

    def text(self, name: str, default: str) -> str:
        return str(self._get(name, default, str))

    def id(self, name: str, count: int, default: int | None = None) -> int | None:
        value = self._get(name, None, int)
        if value is None or value == _NO_ID:
            return default
        return check_id(value, count, f"tokenizer.ggml.{name}")

    def tokens(self) -> list[str | None]:
        """The tokens; None for the empty ones, with which some writers fill unused ids."""
        return [token or None for token in self.texts("tokens")]

    def texts(self, name: str) -> list[str]:
        values = self._list(name)
        if not set(map(type, values)) <= {str}:
            raise BadFile(f"tokenizer.ggml.{name} holds something that is not a string.")
        return values

    def types(self, count: int) -> list[int]:
        """The token types, one per token; empty when the file has none."""
        if "tokenizer.ggml.token_type" not in self._metadata:
            return []
        values = self._list("token_type", count)
        if not set(map(type, values)) <= {int} or not set(values) <= set(TokenType):
            raise BadFile("tokenizer.ggml.token_type holds a value outside 1 to 6.")
        return values

    def scores(self, count: int) -> list[float]:
        values = self._list("scores", count)
        if not set(map(type, values)) <= {float, int} or not all(map(isfinite, values)):
            raise BadFile("tokenizer.ggml.scores holds a value that is not a finite number.")
        return values

    def _list(self, name: str, count: int | None = None) -> list[Any]:
        values = self._get(name, None, list)
        if values is None:
            raise BadFile(f"tokenizer.ggml.{name} is missing.")
        if count is not None and len(values) != count:
            raise BadFile(f"tokenizer.ggml.{name} has {len(values)} entries for {count} tokens.")
        return list(values)
