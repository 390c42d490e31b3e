"""A vocabulary read from ``tokenizer.model``, the protocol buffer that SentencePiece writes.

Only the fields that matter for BPE are read; the wire format is five kinds of values, so no
library is needed. Unigram models, and models that rewrite characters before splitting, are not
read: their families ship a ``tokenizer.json``.
"""

import struct
from collections.abc import Iterator
from math import isfinite

from wazn.errors import BadFile, UnsupportedModel
from wazn.text.gguf_vocabulary import ADDED_TYPES, TokenType
from wazn.text.merges import merges_from_scores
from wazn.text.pre_tokenizers import SPACE_MARKS, SPACE_MARKS_WITH_PREFIX
from wazn.text.vocabulary import MAX_TOKENS, AddedToken, Vocabulary, index_tokens

MAX_MODEL_BYTES = 32 << 20
"""Bytes of tokenizer.model; that of Llama 2 has half a million."""

_BPE = 2

Value = int | bytes


def read_sentencepiece_model(data: bytes) -> Vocabulary:
    """The vocabulary in the bytes of a ``tokenizer.model``; BadFile or UnsupportedModel."""
    try:
        return _read(data)
    except (IndexError, KeyError, TypeError, UnicodeDecodeError, struct.error):
        raise BadFile("tokenizer.model is not a SentencePiece model, or is cut short.") from None


def _read(data: bytes) -> Vocabulary:
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[int, Value] = {}
    rules: dict[int, Value] = {}
    for number, value in _fields(data):
        if number == 1:
            pieces.append(_piece(dict(_fields(_bytes(value)))))
        elif number == 2:
            trainer = dict(_fields(_bytes(value)))
        elif number == 3:
            rules = dict(_fields(_bytes(value)))
        if len(pieces) > MAX_TOKENS:
            raise BadFile(f"tokenizer.model has more than {MAX_TOKENS} pieces.")
    if trainer.get(3, 1) != _BPE:
        raise UnsupportedModel("tokenizer.model holds a Unigram model; this version reads BPE.")
    for field, number, default in (
        ("precompiled_charsmap", 2, 0),
        ("remove_extra_whitespaces", 4, 1),
    ):
        if rules.get(number, default):
            raise UnsupportedModel(f"normalizer_spec.{field} in tokenizer.model is not supported.")
    return _vocabulary(pieces, trainer, adds_space=bool(rules.get(3, 1)))


def _piece(piece: dict[int, Value]) -> tuple[str, float, int]:
    score = struct.unpack("<f", _bytes(piece.get(2, bytes(4))))[0]
    if not isfinite(score):
        raise BadFile("tokenizer.model gives a piece a score that is not a finite number.")
    return _bytes(piece[1]).decode(), score, int(piece.get(3, TokenType.NORMAL))


def _vocabulary(
    pieces: list[tuple[str, float, int]], trainer: dict[int, Value], *, adds_space: bool
) -> Vocabulary:
    ids = index_tokens([text for text, _, _ in pieces], "pieces in tokenizer.model")
    ordinary = {text: id for text, id in ids.items() if pieces[id][2] == TokenType.NORMAL}
    types = [type for _, _, type in pieces]

    def special_id(number: int, default: int, kind: TokenType) -> int | None:
        id = trainer.get(number, default)
        return id if isinstance(id, int) and id < len(types) and types[id] == kind else None

    eos_id = special_id(42, 2, TokenType.CONTROL)
    return Vocabulary(
        tokens=list(ids),
        spelling="sentencepiece",
        merges=merges_from_scores(ordinary, [score for _, score, _ in pieces], "tokenizer.model"),
        added=[
            AddedToken(id, special=type != TokenType.USER_DEFINED)
            for id, type in enumerate(types)
            if type in ADDED_TYPES
        ],
        normalizer=SPACE_MARKS_WITH_PREFIX if adds_space else SPACE_MARKS,
        unknown_id=special_id(40, 0, TokenType.UNKNOWN),
        fuse_unknown=True,
        byte_fallback=TokenType.BYTE in types,
        strips_leading_space=adds_space,
        bos_id=special_id(41, 1, TokenType.CONTROL),
        eos_id=eos_id,
        stop_ids=[] if eos_id is None else [eos_id],
        adds_bos=True,
    )


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Field number and value of each field of a message, in the order they are written."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        size, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if at + size > len(data):
            raise IndexError
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128 or shift >= 70:
            return value, at


def _bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise TypeError
    return value
