"""Which files of a repository make up one model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazn.errors import BadRequest, ModelNotFound, WaznError
from wazn.weights.sources.selection import PREFERRED_FORMATS, choose_files

SPLIT = tuple(f"Q8_0/m-Q8_0-0000{k}-of-00003.gguf" for k in (1, 2, 3))


@pytest.mark.parametrize(
    ("names", "asked", "chosen"),
    [
        (["m-Q4_K_M.gguf", "m-Q4_K_S.gguf"], "q4_k_m", "m-Q4_K_M.gguf"),
        (["m-q4_k_m.gguf", "m-q4_0.gguf"], "Q4_0", "m-q4_0.gguf"),
        (["m-Q4_0.gguf", "m-Q4_0_4_4.gguf"], "Q4_0", "m-Q4_0.gguf"),
        (["m-IQ4_XS.gguf", "m-Q4_XS.gguf"], "Q4_XS", "m-Q4_XS.gguf"),
        (["m.Q4_K.gguf", "m.Q4_K_M.gguf"], "Q4_K", "m.Q4_K.gguf"),
        (["m_q8_0.gguf", "m_f16.gguf"], "F16", "m_f16.gguf"),
        (["m-bf16.gguf", "m-f16.gguf"], "f16", "m-f16.gguf"),
        (["a/m-Q8_0.gguf", "a/m-Q4_0.gguf"], "a/m-Q8_0.gguf", "a/m-Q8_0.gguf"),
        (["m-Q8_0.gguf", "mmproj-m-Q8_0.gguf"], "Q8_0", "m-Q8_0.gguf"),
        (["m-Q8_0.gguf", "mmproj-m-Q8_0.gguf"], "mmproj-m-Q8_0.gguf", "mmproj-m-Q8_0.gguf"),
        (["m-Q8_0.gguf", "m-Q4_1.gguf", "m-Q4_0.gguf"], None, "m-Q4_0.gguf"),
        (["m-Q8_0.gguf", "m-Q4_1.gguf"], None, "m-Q4_1.gguf"),
        (["only.gguf", "mmproj-f16.gguf", "model.safetensors", "config.json"], None, "only.gguf"),
    ],
)
def test_one_gguf_file_is_chosen(names: list[str], asked: str | None, chosen: str) -> None:
    assert choose_files(names, asked, "hf:a/b") == (chosen,)


@pytest.mark.parametrize("asked", ["Q8_0", None, SPLIT[0], SPLIT[2]])
def test_the_parts_of_a_split_file_are_kept_together(asked: str | None) -> None:
    assert choose_files([*reversed(SPLIT), "README.md"], asked, "hf:a/b") == SPLIT


@pytest.mark.parametrize("asked", ["Q8_0", None])
def test_a_split_file_with_missing_parts_is_refused(asked: str | None) -> None:
    with pytest.raises(ModelNotFound, match="has only 2 of the 3 parts"):
        choose_files(SPLIT[:2], asked, "hf:a/b")


def test_files_of_ranks_are_taken_together() -> None:
    ranks = [
        f"pytorch_model-0000{k}-TP-{rank}.safetensors" for k in (0, 1) for rank in ("000", "001")
    ]
    common = "pytorch_model-00002-TP-common.safetensors"
    others = ["README.md", "config.json", "x-TP-1.safetensors", "folder/x-TP-001.safetensors"]
    assert choose_files([*others, *ranks, common], None, "hf:a/b") == (
        *ranks,
        common,
        "config.json",
    )


def test_an_open_choice_is_refused_with_what_there_is() -> None:
    with pytest.raises(BadRequest, match=r"name one as hf:a/b:FILE. It has x-Q4_0.gguf, y-Q4_0"):
        choose_files(["x-Q4_0.gguf", "y-Q4_0.gguf"], None, "hf:a/b")
    with pytest.raises(BadRequest, match=r"'Q4_0' fits several files of hf:a/b; name one of x-Q4"):
        choose_files(["x-Q4_0.gguf", "y-Q4_0.gguf"], "Q4_0", "hf:a/b")


@pytest.mark.parametrize("asked", ["Q3_K", "other.gguf", "mmproj"])
def test_an_absent_choice_is_refused_with_what_there_is(asked: str) -> None:
    with pytest.raises(ModelNotFound, match=rf"no GGUF file '{asked}'; it has m-Q4_0.gguf"):
        choose_files(["m-Q4_0.gguf"], asked, "hf:a/b")


def test_a_long_listing_is_cut() -> None:
    names = [f"m{k:02}-Q4_0.gguf" for k in range(30)]
    with pytest.raises(BadRequest, match=r"m19-Q4_0.gguf, 10 more\.$"):
        choose_files(names, None, "hf:a/b")


@pytest.mark.parametrize(
    "names",
    [
        ["pytorch_model.bin", "config.json"],
        ["model.safetensors"],
        ["adapter_model.safetensors", "config.json"],
        ["model-00001-of-00002.safetensors", "config.json"],
        [],
    ],
)
def test_a_repository_without_usable_weights_is_refused(names: list[str]) -> None:
    with pytest.raises(ModelNotFound, match="neither a GGUF file nor"):
        choose_files(names, None, "hf:a/b")


def test_a_single_safetensors_file_comes_with_its_tokenizer_and_nothing_else() -> None:
    wanted = ("model.safetensors", "config.json", "merges.txt", "tokenizer.json", "vocab.json")
    others = ("consolidated.safetensors", "run.py", "pytorch_model.bin", "onnx/model.onnx")
    assert choose_files([*others, *wanted], None, "hf:a/b") == wanted


def test_shards_named_after_the_whole_file_are_known_too() -> None:
    shards = tuple(f"model.safetensors-0000{k}-of-00002.safetensors" for k in (1, 2))
    names = ["config.json", *shards, "model.safetensors.index.json"]
    assert choose_files(names, None, "x")[:2] == shards


@given(st.sets(st.sampled_from(PREFERRED_FORMATS), min_size=1))
def test_the_first_preferred_format_wins(formats: set[str]) -> None:
    best = next(format for format in PREFERRED_FORMATS if format in formats)
    names = [f"model-{format}.gguf" for format in formats]
    assert choose_files(names, None, "hf:a/b") == (f"model-{best}.gguf",)


@given(st.lists(st.text(max_size=30), max_size=8), st.none() | st.text(min_size=1, max_size=10))
def test_only_listed_files_are_chosen(names: list[str], asked: str | None) -> None:
    try:
        chosen = choose_files(names, asked, "hf:a/b")
    except WaznError:
        return
    assert chosen and set(chosen) <= set(names)
