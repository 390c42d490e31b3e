"""Decoding token by token gives what decoding at once gives."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.vocabularies import TEXTS, qwen_metadata, sentencepiece_metadata
from wazn.text.stream_decoder import StreamDecoder
from wazn.text.tokenizer import Tokenizer


def build(kind: str) -> Tokenizer:
    metadata = (
        qwen_metadata("qwen2")
        if kind == "byte-level"
        else sentencepiece_metadata(add_space_prefix=kind == "sentencepiece")
    )
    tokenizer = Tokenizer.from_gguf(metadata)
    assert tokenizer is not None
    return tokenizer


@pytest.fixture(
    scope="module", params=["byte-level", "sentencepiece", "sentencepiece without prefix"]
)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return build(request.param)


def stream(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    decoder = StreamDecoder(tokenizer)
    return [*map(decoder.push, ids), decoder.finish()]


@settings(deadline=None)
@given(data=st.data())
def test_the_pieces_of_any_ids_join_to_the_decoded_text(
    tokenizer: Tokenizer, data: st.DataObject
) -> None:
    # A few ids beyond the vocabulary too: a model may have more rows than there are tokens.
    id = st.integers(0, tokenizer.vocab_size + 3) | st.integers(0, 300)
    ids = data.draw(st.lists(id, max_size=30))
    assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_piece_of_a_valid_text_holds_half_a_character(tokenizer: Tokenizer, text: str) -> None:
    pieces = stream(tokenizer, tokenizer.encode(text))
    assert not any("\ufffd" in piece for piece in pieces)
    assert pieces[-1] == ""


def test_a_character_comes_with_its_last_byte(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("a日")
    pieces = stream(tokenizer, ids)
    assert "".join(pieces[: len(ids) - 1]) == "a"
    assert pieces[len(ids) - 1] == "日"


def test_a_character_cut_off_at_the_end_is_marked() -> None:
    tokenizer = build("sentencepiece")
    assert stream(tokenizer, [3 + 0xE6, 3 + 0x97]) == ["", "", "\ufffd"]


def test_special_tokens_are_left_out_and_do_not_break_a_character(tokenizer: Tokenizer) -> None:
    special = min(tokenizer.special_ids)
    ids = [id for one in tokenizer.encode("日") for id in (one, special)]
    assert "".join(stream(tokenizer, ids)) == "日"


def test_an_answer_that_continues_a_text_keeps_its_first_space() -> None:
    tokenizer = build("sentencepiece")
    the = tokenizer.encode("the")
    assert tokenizer.token_text(the[0]) == "▁the"
    assert StreamDecoder(tokenizer).push(the[0]) == "the"
    assert StreamDecoder(tokenizer, continues=True).push(the[0]) == " the"
