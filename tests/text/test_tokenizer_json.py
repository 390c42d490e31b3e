"""Reading tokenizer.json and the small files around it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as LibraryTokenizer

from tests.text.vocabularies import TEXTS, byte_letters, deepseek_directory, small_tokenizer_json
from wazn.errors import BadFile, UnsupportedModel
from wazn.text.tokenizer import Tokenizer
from wazn.text.tokenizer_json import read_tokenizer_json


def from_files(folder: Path, **files: Any) -> Tokenizer:
    """A directory with the small tokenizer.json and the given files (name without .json)."""
    for name, content in {"tokenizer": small_tokenizer_json(), **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    tokenizer = Tokenizer.from_directory(folder)
    assert tokenizer is not None
    return tokenizer


@pytest.fixture(scope="module")
def deepseek() -> Tokenizer:
    tokenizer = Tokenizer.from_directory(deepseek_directory())
    assert tokenizer is not None
    return tokenizer


def test_deepseek_encodes_as_the_library_does(deepseek: Tokenizer) -> None:
    library = LibraryTokenizer.from_file(str(deepseek_directory() / "tokenizer.json"))
    for text in TEXTS.values():
        ids = library.encode(text, add_special_tokens=False).ids
        assert deepseek.encode(text) == ids
        assert deepseek.decode(ids) == text


def test_deepseek_knows_its_special_tokens(deepseek: Tokenizer) -> None:
    assert (deepseek.bos_id, deepseek.eos_id) == (0, 1)
    assert deepseek.stop_ids == {1}
    assert deepseek.adds_bos is False
    assert deepseek.vocab_size == 129_280
    think = deepseek.added_id("<think>")
    assert think == 128_821
    assert deepseek.decode([0, think, 1]) == "<think>"
    assert deepseek.decode([0, think], skip_special=False) == "<｜begin▁of▁sentence｜><think>"


def test_merges_may_be_pairs_or_words(tmp_path: Path) -> None:
    document = small_tokenizer_json()
    document["model"]["merges"] = ["h e", "he l"]
    assert from_files(tmp_path, tokenizer=document).encode("hello")[0] == 257


def test_stop_ids_are_gathered_from_every_file(tmp_path: Path) -> None:
    tokenizer = from_files(
        tmp_path,
        tokenizer_config={"eos_token": {"content": "a"}, "bos_token": "<s>"},
        generation_config={"eos_token_id": [5, 6]},
        config={"eos_token_id": 7, "bos_token_id": 9},
    )
    assert tokenizer.eos_id == byte_letters().index("a")
    assert tokenizer.stop_ids == {5, 6, 7, tokenizer.eos_id}
    assert tokenizer.bos_id == 258


def test_the_small_files_fill_in_for_one_another(tmp_path: Path) -> None:
    tokenizer = from_files(
        tmp_path, special_tokens_map={"eos_token": "<s>"}, config={"bos_token_id": 9}
    )
    assert (tokenizer.bos_id, tokenizer.eos_id) == (9, 258)


def _template(*parts: str) -> dict[str, Any]:
    single = [
        {"Sequence": {"id": "A", "type_id": 0}} if part == "A" else {"SpecialToken": {"id": part}}
        for part in parts
    ]
    step = {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {}}
    return {"type": "Sequence", "processors": [{"type": "ByteLevel"}, step]}


@pytest.mark.parametrize(
    ("parts", "config", "adds_bos", "adds_eos"),
    [
        (("A",), {}, False, False),
        (("<s>", "A"), {}, True, False),
        (("A", "<s>"), {}, False, True),
        (("<s>", "A"), {"add_bos_token": False}, False, False),
        (("A",), {"add_bos_token": True, "bos_token": "<s>"}, True, False),
    ],
)
def test_the_post_processor_tells_whether_a_prompt_begins_with_bos(
    tmp_path: Path, parts: tuple[str, ...], config: dict[str, Any], adds_bos: bool, adds_eos: bool
) -> None:
    document = small_tokenizer_json(post_processor=_template(*parts))
    tokenizer = from_files(tmp_path, tokenizer=document, tokenizer_config=config)
    assert (tokenizer.adds_bos, tokenizer.adds_eos) == (adds_bos, adds_eos)
    assert tokenizer.encode("he") == [256]


def test_truncation_padding_and_dropout_are_left_out(tmp_path: Path) -> None:
    document = small_tokenizer_json(
        truncation={"max_length": 1, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        padding={"strategy": {"Fixed": 10**12}, "direction": "Left", "pad_id": 0},
    )
    document["model"]["dropout"] = 0.9
    tokenizer = from_files(tmp_path, tokenizer=document)
    assert [tokenizer.encode("hel") for _ in range(20)] == [[257]] * 20


def test_ids_may_have_holes(tmp_path: Path) -> None:
    document = small_tokenizer_json()
    document["added_tokens"][0]["id"] = 300
    tokenizer = from_files(tmp_path, tokenizer=document)
    assert tokenizer.encode("<s>he") == [300, 256]
    assert tokenizer.decode([258, 299, 256]) == "he"
    assert tokenizer.vocab_size == 301


def test_a_unigram_model_encodes_as_the_library_does(tmp_path: Path) -> None:
    pieces = [["<unk>", 0.0], ["▁", -2.0], ["▁the", -3.0], ["t", -4.0], ["he", -3.5], ["h", -5.0]]
    document = small_tokenizer_json(
        added_tokens=[],
        model={"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": False},
        pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        decoder={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
    )
    tokenizer = from_files(tmp_path, tokenizer=document)
    library = LibraryTokenizer.from_str(json.dumps(document))
    for text in ("the", "t he the", "thz", ""):
        assert tokenizer.encode(text) == library.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(tokenizer.encode("the the")) == "the the"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": {"type": "WordPiece", "vocab": {}}}, "model.type"),
        ({"decoder": None}, "decoder"),
        ({"decoder": {"type": "WordPiece"}}, "decoder"),
        ({"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}]}}, "decoder"),
    ],
)
def test_a_kind_that_is_not_read_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedModel, match=named):
        read_tokenizer_json(json.dumps(small_tokenizer_json(**change)).encode())


def test_a_directory_without_tokenizer_has_none(tmp_path: Path) -> None:
    assert Tokenizer.from_directory(tmp_path) is None


def test_an_old_style_directory_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "merges.txt").write_text("h e")
    with pytest.raises(UnsupportedModel, match=r"no tokenizer\.json; save it again"):
        Tokenizer.from_directory(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("tokenizer_config", {"bos_token": "<nowhere>"}, "bos_token in tokenizer_config.json"),
        ("tokenizer_config", {"add_bos_token": "yes"}, "add_bos_token"),
        ("tokenizer_config", [], "tokenizer_config.json holds no JSON object"),
        ("generation_config", {"eos_token_id": [2, 10**9]}, "eos_token_id in generation_config"),
        ("config", {"eos_token_id": -1}, "eos_token_id in config.json is -1"),
        ("config", {"bos_token_id": "1"}, "bos_token_id in config.json"),
    ],
)
def test_a_wrong_value_in_a_small_file_is_named(
    tmp_path: Path, file: str, content: Any, named: str
) -> None:
    with pytest.raises(BadFile, match=named):
        from_files(tmp_path, **{file: content})
