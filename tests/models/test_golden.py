"""The tiny models against the answers of an independent implementation (see golden/README.md)."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from tests.golden import later_families, window_families
from tests.golden.answers import FORMAT_ROWS, ROWS, continuations, sequence, stored_logits
from tests.golden.build import tiny_directory, tiny_gguf
from tests.golden.catalogue import CATALOGUE, LLAMA, Tiny
from tests.golden.converted import has_gguf
from wazn import LLM, Completion, SamplingParams

TOLERANCE = 1e-4  # relative to the largest logit of a row
GREEDY = SamplingParams(max_tokens=64, temperature=0, ignore_eos=True)
FORMATS = [(tiny, kind) for tiny in CATALOGUE for kind in tiny.formats]

FILES = [
    (tiny, kind)
    for tiny in (*CATALOGUE, *later_families.CATALOGUE, *window_families.CATALOGUE)
    for kind in ("directory", "gguf")
    if kind == "directory" or has_gguf(tiny.config)
]

each_file = pytest.mark.parametrize(
    ("tiny", "kind"), FILES, ids=lambda value: getattr(value, "name", value)
)
each_format = pytest.mark.parametrize(
    ("tiny", "kind"), FORMATS, ids=lambda value: getattr(value, "name", "")
)


def _open(tiny: Tiny, kind: str, folder: Path) -> LLM:
    if kind == "directory":
        path = tiny_directory(tiny, folder / tiny.name)
    else:
        path = tiny_gguf(tiny, folder / f"{tiny.name}.gguf")
    return LLM(path, precision="exact")


def relative_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest difference of any row, in units of the row's largest expected logit."""
    differences = np.abs(found - expected).max(axis=1)
    return float((differences / np.abs(expected).max(axis=1)).max())


@each_file
def test_logits_are_those_of_the_reference(tiny: Tiny, kind: str, tmp_path: Path) -> None:
    with _open(tiny, kind, tmp_path) as llm:
        logits = llm.logits(sequence(tiny))
    assert logits.shape == (200, tiny.config["vocab_size"])
    assert relative_error(logits[list(ROWS)], stored_logits(tiny, "F32")) < TOLERANCE


@each_format
def test_every_number_format_gives_the_reference_logits(
    tiny: Tiny, kind: GGMLQuantizationType, tmp_path: Path
) -> None:
    path = tiny_gguf(tiny, tmp_path / "model.gguf", kind)
    with LLM(path, precision="exact") as llm:
        logits = llm.logits(sequence(tiny)[: FORMAT_ROWS[-1] + 1])
    assert relative_error(logits[list(FORMAT_ROWS)], stored_logits(tiny, kind.name)) < TOLERANCE


def test_sharded_bfloat16_directory_gives_the_reference_logits(tmp_path: Path) -> None:
    path = tiny_directory(LLAMA, tmp_path / "sharded", LLAMA.bfloat16_shards)
    assert len(list(path.glob("*.safetensors"))) == LLAMA.bfloat16_shards
    with LLM(path, precision="exact") as llm:
        logits = llm.logits(sequence(LLAMA)[: FORMAT_ROWS[-1] + 1])
    assert relative_error(logits[list(FORMAT_ROWS)], stored_logits(LLAMA, "sharded")) < TOLERANCE


@each_file
def test_greedy_continuations_are_those_of_the_reference(
    tiny: Tiny, kind: str, tmp_path: Path
) -> None:
    expected = continuations(tiny)
    with _open(tiny, kind, tmp_path) as llm:
        found = cast(list[Completion], llm.generate([e["prompt_ids"] for e in expected], GREEDY))
    for completion, entry in zip(found, expected, strict=True):
        assert completion.token_ids == entry["continuation"]


@each_file
def test_prompts_become_the_reference_token_ids(tiny: Tiny, kind: str, tmp_path: Path) -> None:
    with _open(tiny, kind, tmp_path) as llm:
        for entry in continuations(tiny):
            request = llm.prepare(entry["prompt"], GREEDY)
            assert request.prompt_ids == entry["prompt_ids"]


def test_a_model_answers_a_conversation_as_the_reference_does(tmp_path: Path) -> None:
    conversation = continuations(LLAMA)[-1]
    with _open(LLAMA, "directory", tmp_path) as llm:
        completion = llm.chat(conversation["prompt"], GREEDY)
    assert not isinstance(completion, list)
    assert completion.token_ids == conversation["continuation"]
