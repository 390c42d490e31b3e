"""Broken and hostile tokenizer data: one BadFile that names the field, soon, and no crash."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.vocabularies import qwen_metadata, sentencepiece_metadata, small_tokenizer_json
from wazn.errors import BadFile, UnsupportedModel, WaznError
from wazn.text.json_file import MAX_CONTAINERS, MAX_VALUES, parse_json, read_json
from wazn.text.tokenizer import Tokenizer
from wazn.text.tokenizer_json import read_tokenizer_json
from wazn.text.vocabulary import MAX_TOKENS

LIMIT_S = 1.0

BYTE_LEVEL = qwen_metadata("qwen2")
TOKENS = BYTE_LEVEL["tokenizer.ggml.tokens"]
SENTENCEPIECE = sentencepiece_metadata()
SCORES = SENTENCEPIECE["tokenizer.ggml.scores"]


def refused(build: Any, named: str) -> None:
    start = time.monotonic()
    with pytest.raises(BadFile, match=named):
        build()
    assert time.monotonic() - start < LIMIT_S


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("tokens", None, "tokens is missing"),
        ("tokens", "text", "tokens has the type str"),
        ("tokens", [], "tokens has 0 entries"),
        ("tokens", [1, 2], "tokens holds something that is not a string"),
        ("tokens", [*TOKENS[:-1], TOKENS[5]], r"tokens\[6004\] repeats the token '&' of id 5"),
        ("tokens", ["x"] * (MAX_TOKENS + 1), f"1 to {MAX_TOKENS} are possible"),
        (
            "merges",
            [*BYTE_LEVEL["tokenizer.ggml.merges"], "q zzzz"],
            r"merges\[\d+\] of the tokenizer needs the token 'zzzz'",
        ),
        ("merges", ["a"], r"merges\[0\]"),
        ("merges", ["! Ģ"], r"merges\[0\] of the tokenizer needs the token '!Ģ'"),
        ("merges", [["a", "b"]], "merges holds something that is not a string"),
        ("token_type", [1], "token_type has 1 entries for 6005 tokens"),
        ("token_type", [99] * len(TOKENS), "token_type holds a value outside 1 to 6"),
        ("token_type", [True] * len(TOKENS), "token_type holds a value"),
        ("token_type", [[1]] * len(TOKENS), "token_type holds a value"),
        ("bos_token_id", -1, "bos_token_id is -1; token ids go from 0 to 6004"),
        ("eos_token_id", 10**18, "eos_token_id is 1000000000000000000"),
        ("eot_token_id", 2.5, "eot_token_id has the type float"),
        ("eom_token_id", "2", "eom_token_id has the type str"),
        ("add_bos_token", 1, "add_bos_token has the type int"),
        ("pre", 7, "pre has the type int"),
    ],
)
def test_a_wrong_value_of_byte_level_metadata_is_named(field: str, value: Any, named: str) -> None:
    metadata = {**BYTE_LEVEL, f"tokenizer.ggml.{field}": value}
    refused(lambda: Tokenizer.from_gguf(metadata), named)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("scores", None, "scores is missing"),
        ("scores", [math.nan, *SCORES[1:]], "scores holds a value that is not a finite number"),
        ("scores", [*SCORES[:-1], math.inf], "scores holds a value that is not a finite number"),
        ("scores", ["0", *SCORES[1:]], "scores holds a value that is not a finite number"),
        ("scores", SCORES[1:], "scores has 280 entries for 281 tokens"),
        ("token_type", [], "token_type has 0 entries"),
        ("unknown_token_id", 10**6, "unknown_token_id is 1000000"),
        ("add_space_prefix", "yes", "add_space_prefix has the type str"),
    ],
)
def test_a_wrong_value_of_sentencepiece_metadata_is_named(
    field: str, value: Any, named: str
) -> None:
    metadata = {**SENTENCEPIECE, f"tokenizer.ggml.{field}": value}
    refused(lambda: Tokenizer.from_gguf(metadata), named)


def test_sentencepiece_metadata_without_types_is_refused() -> None:
    metadata = {**SENTENCEPIECE}
    del metadata["tokenizer.ggml.token_type"]
    refused(lambda: Tokenizer.from_gguf(metadata), "token_type is missing")


def test_the_id_that_means_none_is_no_id() -> None:
    tokenizer = Tokenizer.from_gguf({**BYTE_LEVEL, "tokenizer.ggml.bos_token_id": 2**32 - 1})
    assert tokenizer is not None
    assert tokenizer.bos_id is None


def _model(**changes: Any) -> dict[str, Any]:
    return {"model": {**small_tokenizer_json()["model"], **changes}}


def _vocab(**changes: Any) -> dict[str, Any]:
    return _model(vocab={**small_tokenizer_json()["model"]["vocab"], **changes})


def _added(**changes: Any) -> dict[str, Any]:
    first, second = small_tokenizer_json()["added_tokens"]
    return {"added_tokens": [{**first, **changes}, second]}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": None}, "expected shape"),
        ({"model": []}, "expected shape"),
        (_model(vocab={}), "model.vocab in tokenizer.json is empty"),
        (_model(vocab=[]), "expected shape|model.vocab"),
        (_vocab(he=-1), "lowest id of model.vocab in tokenizer.json is -1"),
        (_vocab(he=10**15), "highest id of model.vocab in tokenizer.json is 1000000000000000"),
        (_vocab(he=1.5), "model.vocab"),
        (_vocab(he=True), "model.vocab"),
        (_vocab(he=3), "gives the id 3 to two tokens"),
        (_model(merges="h e"), "model.merges in tokenizer.json is no list"),
        (_model(merges=[["h", "e", "l"]]), r"model.merges in tokenizer.json\[0\] is no pair"),
        (_model(merges=[["h", 1]]), r"merges in tokenizer.json\[0\] is no pair"),
        (_model(unk_token="<nope>"), "model.unk_token"),
        (_model(unk_token=["a"]), "expected shape"),
        (_model(byte_fallback="yes"), "model.byte_fallback"),
        (_added(id=-1), r"added_tokens\[0\].id in tokenizer.json is -1"),
        (_added(id=2**40), r"added_tokens\[0\].id"),
        (_added(id=5), r"added_tokens\[0\].id in tokenizer.json is 5, which is another token's"),
        (_added(id=270, content="he"), "repeats the token 'he'"),
        (_added(content=""), r"added_tokens\[0\] in tokenizer.json has no content"),
        (_added(content=7), r"added_tokens\[0\]"),
        (_added(special="no"), r"added_tokens\[0\]"),
        ({"added_tokens": [1]}, "expected shape"),
        ({"added_tokens": [{"id": 1}]}, "expected shape"),
        ({"decoder": 1}, "expected shape"),
        ({"post_processor": {"type": "TemplateProcessing", "single": [1]}}, "expected shape"),
        ({"model": {"type": "Unigram", "vocab": [["a", "b"]]}}, r"model.vocab\[0\]"),
        (
            {"model": {"type": "Unigram", "vocab": [["a", 1.0]], "unk_id": 7}, "added_tokens": []},
            "model.unk_id",
        ),
        ({"model": {"type": "Unigram", "vocab": 3}}, "expected shape"),
        ({"model": {"type": "Unigram", "vocab": [["", 1.0]]}}, r"model.vocab\[0\]"),
        ({"model": {"type": "Unigram", "vocab": [["a", 1.0]]}}, "leave ids without a piece"),
    ],
)
def test_a_wrong_value_of_tokenizer_json_is_named(changes: dict[str, Any], named: str) -> None:
    data = json.dumps(small_tokenizer_json(**changes)).encode()
    refused(lambda: read_tokenizer_json(data), named)


@pytest.mark.parametrize("pattern", [r"\p{L}+", "(a|aa)+b"], ids=["here", "in the helper"])
def test_a_merge_without_its_tokens_is_named_wherever_it_is_encoded(pattern: str) -> None:
    rule = {"Regex": pattern}
    split = {"type": "Split", "pattern": rule, "behavior": "Isolated", "invert": False}
    changes = {**_model(merges=[["h", "e"], ["z", "zz"]]), "pre_tokenizer": split}
    vocabulary = read_tokenizer_json(json.dumps(small_tokenizer_json(**changes)).encode())
    refused(lambda: Tokenizer(vocabulary), r"merges\[1\] of the tokenizer needs the token 'zz'")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"", "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b"\xff\xfe\xfa", "not valid JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not valid JSON"),
        (b'{"a": 1, "a": 2}', "the key 'a' appears twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * (MAX_CONTAINERS + 1), "too many values"),
        (b"0," * (MAX_VALUES + 1), "too many values"),
    ],
)
def test_json_that_cannot_be_read_is_refused(text: bytes, named: str) -> None:
    refused(lambda: parse_json(text, "tokenizer.json"), named)


def test_a_file_over_its_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "big.json").write_bytes(b" " * 101)
    refused(lambda: read_json(tmp_path / "big.json", 100), "larger than 100 bytes")


def _values() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["type", "id", "content", "vocab", "x"]), inner)
        ),
        max_leaves=6,
    )


@settings(deadline=None)
@given(
    path=st.sampled_from(
        [
            *(["model"], ["decoder"], ["post_processor"], ["added_tokens"], ["added_tokens", 0]),
            *(["model", key] for key in ("vocab", "merges", "type", "unk_token", "fuse_unk")),
            *(["added_tokens", 1, key] for key in ("id", "content", "special")),
        ]
    ),
    value=_values(),
)
def test_any_value_anywhere_is_read_or_refused(path: list[Any], value: Any) -> None:
    document = small_tokenizer_json()
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    try:
        tokenizer = Tokenizer(read_tokenizer_json(json.dumps(document).encode()))
    except (BadFile, UnsupportedModel):
        return
    assert isinstance(tokenizer.encode("hello <s>"), list)


@settings(deadline=None)
@given(field=st.sampled_from(sorted(SENTENCEPIECE)), value=_values())
def test_any_value_in_the_metadata_is_read_or_refused(field: str, value: Any) -> None:
    try:
        tokenizer = Tokenizer.from_gguf({**SENTENCEPIECE, field: value})
    except WaznError:
        return
    assert tokenizer is None or isinstance(tokenizer.encode("the <s>"), list)
