"""Tokenizer files with rules that are not known: encoded by the helper, within limits."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers
from tokenizers import Tokenizer as LibraryTokenizer

from tests.text.vocabularies import TEXTS, small_tokenizer_json
from wazn.errors import BadFile, BadRequest
from wazn.text.encoders import LIMITS, MAX_HELPER_CHARACTERS, HelperEncoder, LocalEncoder
from wazn.text.pipelines import MAX_STEPS, safe_pipeline
from wazn.text.pre_tokenizers import LABELS, SAFE_PATTERNS, TRAILING_SPACE
from wazn.text.tokenizer import Tokenizer
from wazn.text.tokenizer_json import read_tokenizer_json

BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": False,
}


def split(pattern: str) -> dict[str, Any]:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


def document(*steps: dict[str, Any], normalizer: Any = None) -> dict[str, Any]:
    rule = {"type": "Sequence", "pretokenizers": [*steps, BYTE_LEVEL]}
    return small_tokenizer_json(pre_tokenizer=rule, normalizer=normalizer)


@pytest.fixture
def opened() -> Iterator[list[Tokenizer]]:
    tokenizers: list[Tokenizer] = []
    yield tokenizers
    for tokenizer in tokenizers:
        tokenizer.close()


def load(content: dict[str, Any], opened: list[Tokenizer]) -> Tokenizer:
    tokenizer = Tokenizer(read_tokenizer_json(json.dumps(content).encode()))
    opened.append(tokenizer)
    return tokenizer


def test_an_unknown_pattern_encodes_in_the_helper_as_the_library_does(
    opened: list[Tokenizer],
) -> None:
    content = document(split(r"[aeiou]+|\d"))
    tokenizer = load(content, opened)
    assert isinstance(tokenizer._encoder, HelperEncoder)
    library = LibraryTokenizer.from_str(json.dumps(content))
    for text in TEXTS.values():
        assert tokenizer.encode(text) == library.encode(text, add_special_tokens=False).ids


def test_a_pattern_that_backtracks_for_ever_is_killed_and_the_tokenizer_serves_on(
    opened: list[Tokenizer],
) -> None:
    tokenizer = load(document(split("(a|aa){1,22}b")), opened)
    short = tokenizer.encode("hello")
    start = time.monotonic()
    with pytest.raises(BadFile, match=f"pre_tokenizer .* within {LIMITS.cpu_s} s of processor"):
        tokenizer.encode("a" * 200_000)
    assert time.monotonic() - start < LIMITS.wall_s + 1
    assert tokenizer.encode("hello") == short


def test_a_chain_of_replacements_that_grows_without_bound_is_stopped(
    opened: list[Tokenizer],
) -> None:
    grow = {"type": "Replace", "pattern": {"String": "z"}, "content": "z" * 100}
    chain = {"type": "Sequence", "normalizers": [grow] * 8}
    tokenizer = load(document(normalizer=chain), opened)
    with pytest.raises(BadFile, match="pre_tokenizer or normalizer"):
        tokenizer.encode("z")
    assert tokenizer.encode("he") == [256]


@pytest.mark.parametrize(
    "step",
    [
        split("("),
        {"type": "Invented"},
        {"type": "FixedLength", "length": 0},
        {"type": "Split"},
        {},
        7,
    ],
)
def test_a_rule_that_the_library_cannot_use_is_a_bad_file(
    opened: list[Tokenizer], step: Any
) -> None:
    with pytest.raises(BadFile, match="pre_tokenizer"):
        load(document(step), opened).encode("hello")


def test_a_text_too_long_for_the_helper_is_a_bad_request(opened: list[Tokenizer]) -> None:
    tokenizer = load(document(split("[xyz]")), opened)
    with pytest.raises(BadRequest, match=f"at most {MAX_HELPER_CHARACTERS}"):
        tokenizer.encode("x" * (MAX_HELPER_CHARACTERS + 1))


@pytest.mark.parametrize("label", LABELS)
def test_the_rules_of_the_table_run_in_this_process(label: str) -> None:
    rule = LABELS[label]
    assert safe_pipeline(rule.normalizer, rule.steps) == (rule.normalizer, rule.steps)


def test_a_known_pattern_in_a_file_runs_in_this_process(opened: list[Tokenizer]) -> None:
    tokenizer = load(document(split(r"\p{N}{1,3}")), opened)
    assert isinstance(tokenizer._encoder, LocalEncoder)


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer"),
    [
        ({"type": "Precompiled", "precompiled_charsmap": "AAAA"}, None),
        ({"type": "Replace", "pattern": {"Regex": "(a+)+b"}, "content": ""}, None),
        ({"type": "Replace", "pattern": {"String": ""}, "content": "x"}, None),
        ({"type": "Replace", "pattern": {"String": "a"}, "content": "x" * 100}, None),
        ({"type": "Prepend", "prepend": "x" * 100}, None),
        ({"type": "Sequence", "normalizers": [{"type": "NFC"}] * (MAX_STEPS + 1)}, None),
        ({"type": "Sequence", "normalizers": 5}, None),
        ("NFC", None),
        (None, {"type": "Sequence", "pretokenizers": [{"type": "Sequence", "pretokenizers": []}]}),
        (None, {"type": "FixedLength", "length": 0}),
        (None, {"type": ["ByteLevel"]}),
        (None, []),
    ],
)
def test_rules_that_are_not_known_do_not_run_in_this_process(
    normalizer: Any, pre_tokenizer: Any
) -> None:
    assert safe_pipeline(normalizer, pre_tokenizer) is None


LONG_RUNS = [
    *(letter * 20_000 for letter in "aA1.中ا\u0301"),
    *(fragment * 10_000 for fragment in ("aA", "Aa", " \n", "a ", "1 ", "\r\n ", "A\u0301")),
    *(run * 20_000 + end for run in " \t" for end in "1x.\n"),
]


@pytest.mark.parametrize("pattern", sorted({*SAFE_PATTERNS.values()}))
def test_known_patterns_take_no_longer_on_hostile_text_than_on_any_other(pattern: str) -> None:
    """20,000 characters in milliseconds; a quadratic pattern needs seconds."""
    cutter = pre_tokenizers.Split(Regex(pattern), "isolated")
    for text in LONG_RUNS:
        start = time.thread_time()
        pieces = cutter.pre_tokenize_str(text)
        assert time.thread_time() - start < 1
        assert pieces[-1][1][1] == len(text)


@settings(deadline=None)
@given(st.text(st.sampled_from("ab \t\n\r"), max_size=12))
def test_the_faster_form_of_a_pattern_cuts_alike(text: str) -> None:
    slow, fast = (
        pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in (r"\s+$", TRAILING_SPACE)
    )
    assert fast.pre_tokenize_str(text) == slow.pre_tokenize_str(text)
