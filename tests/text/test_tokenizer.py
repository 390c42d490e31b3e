"""What every tokenizer promises, whatever it was read from."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as LibraryTokenizer

from tests.text.vocabularies import (
    byte_letters,
    deepseek_directory,
    qwen_metadata,
    qwen_ranks,
    sentencepiece_metadata,
    small_tokenizer_json,
    spelled,
)
from wazn.errors import BadRequest
from wazn.text.tokenizer import Tokenizer
from wazn.text.tokenizer_json import read_tokenizer_json


@pytest.fixture(scope="module", params=["byte-level", "sentencepiece"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    is_byte_level = request.param == "byte-level"
    metadata = qwen_metadata("qwen35") if is_byte_level else sentencepiece_metadata()
    built = Tokenizer.from_gguf(metadata)
    assert built is not None
    return built


def test_every_token_stands_for_its_bytes(tokenizer: Tokenizer) -> None:
    if tokenizer.strips_leading_space:
        assert tokenizer.token_bytes(3 + 0xE4) == b"\xe4"
        assert tokenizer.token_bytes(259) == b" the"
        return
    for token, id in qwen_ranks().items():
        assert tokenizer.token_bytes(id) == token


def test_a_byte_level_token_outside_the_alphabet_stands_for_itself() -> None:
    document = small_tokenizer_json()
    document["model"]["vocab"]["｜é｜"] = 258
    document["added_tokens"] = []
    tokenizer = Tokenizer(read_tokenizer_json(json.dumps(document).encode()))
    assert tokenizer.token_bytes(258) == "｜é｜".encode()
    assert tokenizer.token_bytes(byte_letters().index("é")) == b"\xe9"
    assert spelled(b"\xe9") == "é"


@settings(deadline=None)
@given(ids=st.lists(st.integers(0, 129_279), max_size=20))
def test_decoding_agrees_with_the_library(
    ids: list[int], deepseek: tuple[Tokenizer, LibraryTokenizer]
) -> None:
    tokenizer, library = deepseek
    assert tokenizer.decode(ids) == library.decode(ids, skip_special_tokens=True)


@pytest.fixture(scope="module")
def deepseek() -> tuple[Tokenizer, LibraryTokenizer]:
    directory = deepseek_directory()
    tokenizer = Tokenizer.from_directory(directory)
    assert tokenizer is not None
    return tokenizer, LibraryTokenizer.from_file(str(directory / "tokenizer.json"))


def test_an_id_beyond_the_vocabulary_stands_for_nothing(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("ab")
    assert tokenizer.decode([*ids, tokenizer.vocab_size, tokenizer.vocab_size + 999]) == "ab"


def test_a_negative_id_is_a_bad_request(tokenizer: Tokenizer) -> None:
    with pytest.raises(BadRequest, match="-1 is negative"):
        tokenizer.decode([-1])


def test_half_a_surrogate_pair_is_a_bad_request(tokenizer: Tokenizer) -> None:
    with pytest.raises(BadRequest, match="character 2 of the text is half of a surrogate pair"):
        tokenizer.encode("ab\ud800")


def test_markers_of_thinking_are_text_even_when_the_file_calls_them_special() -> None:
    document = small_tokenizer_json()
    document["added_tokens"][1]["special"] = True
    tokenizer = Tokenizer(read_tokenizer_json(json.dumps(document).encode()))
    assert tokenizer.decode(tokenizer.encode("<s><think>he")) == "<think>he"
    assert tokenizer.special_ids == {258}


def test_token_text_and_added_id_are_each_others_reverse(tokenizer: Tokenizer) -> None:
    for id in tokenizer.special_ids:
        assert tokenizer.added_id(tokenizer.token_text(id)) == id
    assert tokenizer.token_text(None) == ""
    assert tokenizer.added_id("no such token") is None
