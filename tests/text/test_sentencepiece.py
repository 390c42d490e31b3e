"""SentencePiece vocabularies, from GGUF and from tokenizer.model, against the plain algorithm."""

import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.vocabularies import LETTERS, PIECES, sentencepiece_metadata
from wazn.errors import BadFile, UnsupportedModel
from wazn.text.merges import MAX_SPLITS, merges_from_scores
from wazn.text.tokenizer import Tokenizer

SCORES = {piece: -float(rank) for rank, piece in enumerate((*PIECES, *LETTERS))}
FRAGMENTS = ("the", "abc", "a", "b", "c", "h", " ", "  ", "t", "é", "日", "\n")
TEXT = st.lists(st.sampled_from(FRAGMENTS)).map("".join)


def by_hand(text: str) -> list[str]:
    """Join the best-scoring neighbours, the leftmost of equals, until none joins."""
    parts = list(("▁" + text.replace(" ", "▁")) if text else "")
    while True:
        pairs = map("".join, pairwise(parts))
        joined = [(-SCORES[pair], at) for at, pair in enumerate(pairs) if pair in SCORES]
        if not joined:
            break
        at = min(joined)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    spelled = []
    for part in parts:
        spelled += [part] if part in SCORES else [f"<0x{byte:02X}>" for byte in part.encode()]
    return spelled


def tokens_of(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.token_text(id) for id in tokenizer.encode(text)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    built = Tokenizer.from_gguf(sentencepiece_metadata())
    assert built is not None
    return built


@settings(deadline=None)
@given(text=TEXT)
def test_pieces_are_joined_by_score(tokenizer: Tokenizer, text: str) -> None:
    assert tokens_of(tokenizer, text) == by_hand(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_tokens_are_found_and_each_part_of_text_gets_its_space(
    tokenizer: Tokenizer,
) -> None:
    assert tokens_of(tokenizer, "a<|user|>the<tool>b") == [
        *("▁a", "<|user|>", "▁the", "<tool>", "▁", "b"),
    ]
    assert tokenizer.special_ids == {0, 1, 2, tokenizer.added_id("<|user|>")}


def test_without_the_space_in_front_nothing_is_added_or_removed() -> None:
    plain = Tokenizer.from_gguf(sentencepiece_metadata(add_space_prefix=False))
    assert plain is not None
    assert tokens_of(plain, "the the") == ["the", "▁the"]
    assert plain.decode(plain.encode(" the")) == " the"


def test_bos_is_the_rule_and_the_usual_ids_are_assumed(tokenizer: Tokenizer) -> None:
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.adds_bos) == (1, 2, True)
    assert tokenizer.stop_ids == {2}


def test_unknown_letters_without_byte_tokens_become_the_unknown_token() -> None:
    metadata = sentencepiece_metadata()
    types = metadata["tokenizer.ggml.token_type"]
    keep = [id for id, type in enumerate(types) if type != 6]
    for name in ("tokens", "token_type", "scores"):
        values = metadata[f"tokenizer.ggml.{name}"]
        metadata[f"tokenizer.ggml.{name}"] = [values[id] for id in keep]
    tokenizer = Tokenizer.from_gguf(metadata)
    assert tokenizer is not None
    assert tokens_of(tokenizer, "a日本b") == ["▁a", "<unk>", "b"]


def test_a_vocabulary_with_too_many_splits_is_refused_before_any_work() -> None:
    pieces = {"x" * 1000 + str(id): id for id in range(MAX_SPLITS // 1000)}
    with pytest.raises(BadFile, match=f"over {MAX_SPLITS}"):
        merges_from_scores(pieces, [0.0] * len(pieces), "tokens")


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def model_bytes(trainer: bytes = b"", normalizer: bytes = b"") -> bytes:
    """A tokenizer.model with the same vocabulary as the GGUF metadata."""
    metadata = sentencepiece_metadata()
    pieces = zip(
        metadata["tokenizer.ggml.tokens"],
        metadata["tokenizer.ggml.scores"],
        metadata["tokenizer.ggml.token_type"],
        strict=True,
    )
    message = b"".join(
        field(
            1,
            field(1, text.encode())
            + varint(2 << 3 | 5)
            + struct.pack("<f", score)
            + (b"" if type == 1 else field(3, type)),
        )
        for text, score, type in pieces
    )
    return message + field(2, field(3, 2) + trainer) + field(3, field(4, 0) + normalizer)


def from_model(folder: Path, data: bytes, **config: Any) -> Tokenizer | None:
    (folder / "tokenizer.model").write_bytes(data)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return Tokenizer.from_directory(folder)


@settings(deadline=None)
@given(text=TEXT)
def test_tokenizer_model_encodes_like_the_same_vocabulary_in_gguf(
    tokenizer: Tokenizer, model: Tokenizer, text: str
) -> None:
    assert model.encode(text) == tokenizer.encode(text)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    built = from_model(tmp_path_factory.mktemp("model"), model_bytes())
    assert built is not None
    return built


def test_tokenizer_model_knows_its_special_ids(model: Tokenizer) -> None:
    assert (model.bos_id, model.eos_id, model.adds_bos) == (1, 2, True)
    assert model.stop_ids == {2}


def test_tokens_added_in_the_configuration_are_found(tmp_path: Path) -> None:
    added = {"300": {"content": "<|im_end|>", "special": True}}
    tokenizer = from_model(tmp_path, model_bytes(), added_tokens_decoder=added)
    assert tokenizer is not None
    assert tokenizer.encode("<|im_end|>") == [300]
    assert tokenizer.vocab_size == 301
    assert 300 in tokenizer.stop_ids


def test_kinds_of_tokenizer_model_that_are_not_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="Unigram"):
        from_model(tmp_path, model_bytes(trainer=field(3, 1)))
    with pytest.raises(UnsupportedModel, match="precompiled_charsmap"):
        from_model(tmp_path, model_bytes(normalizer=field(2, b"map")))
    with pytest.raises(UnsupportedModel, match="remove_extra_whitespaces"):
        from_model(tmp_path, model_bytes(normalizer=field(4, 1)))


@settings(deadline=None)
@given(cut=st.integers(1, 2000))
def test_a_tokenizer_model_cut_short_is_a_bad_file(cut: int, folder: Path) -> None:
    with pytest.raises((BadFile, UnsupportedModel)):
        from_model(folder, model_bytes()[:-cut])


@settings(deadline=None)
@given(data=st.binary(max_size=60))
def test_bytes_that_are_no_tokenizer_model_are_refused(data: bytes, folder: Path) -> None:
    with pytest.raises((BadFile, UnsupportedModel)):
        from_model(folder, data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("broken")
