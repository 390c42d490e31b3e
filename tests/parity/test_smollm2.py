"""SmolLM2 as shipped (Q4_1) against transformers on the same dequantised weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from tests.golden import reference
from wazn import LLM, Completion, SamplingParams

# As the checkpoint's own config.json states it; not read from the file under test.
CONFIG = {
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000.0,
    "tie_word_embeddings": True,
}
NUM_TOKENS = 200
TEXT = """\
The lighthouse keeper wrote down the weather every evening, even when there was nothing to write.
Calm, he would put, and the hour, and the height of the tide. After thirty years the books filled a
shelf, and a young woman from the university came by boat to read them. She wanted to know how
often the fog had come in spring, before the harbour was built. He gave her tea and the first ten
books, and went up to trim the lamp. When he came down it was dark and she was still reading.
"You never missed a day," she said. "Two," he answered, "when my daughter was born, and when the
roof went." She turned the pages back to find them, and there they were: two empty lines, one in
June and one in a hard December, each with the height of the tide written in by somebody else. His
wife had done it, he said, because the sea does not stop for us. The woman copied the two numbers
with the rest, and marked them with a small star, so that whoever came after her would know that
they were certain, only kindly meant.
"""
PROMPTS = (
    "What is the capital of France?",
    "The three primary colours are",
    "def fibonacci(n):\n",
    "Once upon a time, in a village by the sea,",
    "To make bread you need flour,",
)


@pytest.fixture(scope="module")
def ours(smollm2: Path) -> Iterator[LLM]:
    """The model under test."""
    with LLM(smollm2, precision="exact") as llm:
        yield llm


@pytest.fixture(scope="module")
def theirs(smollm2: Path) -> Any:
    """The reference, with the weights the ``gguf`` package dequantises."""
    return reference.from_gguf(smollm2, CONFIG)


def test_exact_logits_are_those_of_transformers(ours: LLM, theirs: Any) -> None:
    ids = ours.tokenizer.encode(TEXT)[:NUM_TOKENS]
    assert len(ids) == NUM_TOKENS
    expected = reference.logits(theirs, ids)
    difference = np.abs(ours.logits(ids) - expected)
    print(f"largest difference {difference.max():.2e}, mean {difference.mean():.2e}")
    assert difference.max() < 1e-3


def test_greedy_continuations_are_those_of_transformers(ours: LLM, theirs: Any) -> None:
    prompts = [ours.tokenizer.encode(prompt) for prompt in PROMPTS]
    params = SamplingParams(max_tokens=64, temperature=0, ignore_eos=True)
    found = cast(list[Completion], ours.generate(prompts, params))
    for prompt_ids, completion in zip(prompts, found, strict=True):
        expected, lead = reference.greedy(theirs, prompt_ids, 64)
        print(f"narrowest lead {lead:.4f}")
        assert completion.token_ids == expected
