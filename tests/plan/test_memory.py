"""Memory by part, against files and hand calculation."""

from pathlib import Path

import pytest

from tests.golden.build import tiny_directory, tiny_gguf
from tests.golden.catalogue import LLAMA, QWEN3_MOE, Tiny
from tests.golden.window_families import GPT_OSS, SEED_OSS
from wazn.errors import BadRequest
from wazn.models.load import load_model
from wazn.plan.families import read_shape
from wazn.plan.formats import RECIPES, in_format
from wazn.plan.gguf import read_gguf
from wazn.plan.known import known_models
from wazn.plan.memory import KvFormat, Load, entry_bytes, memory_of, step_rows

LLAMA_8B = read_shape(known_models()["llama-3.1-8b"].config, "llama-3.1-8b")


def test_parts_of_an_8b_model_are_those_computed_by_hand() -> None:
    memory = memory_of(in_format(LLAMA_8B, "BF16"), Load(4, 8192), "float16")
    assert memory.weights["embedding"] == memory.weights["head"] == 128256 * 4096 * 2
    assert memory.weights["dense"] == 32 * 3 * 14336 * 4096 * 2
    assert memory.weights["attention"] == 32 * (2 * 4096 + 2 * 1024) * 4096 * 2
    assert memory.cache == 4 * 8192 * 32 * 2 * 8 * 128 * 2
    assert memory.total == memory.weight_bytes + memory.cache + memory.working


def test_what_leaves_a_window_stays_in_memory() -> None:
    shape = read_shape(known_models()["gpt-oss-120b"].config, "gpt-oss-120b")
    short, long = (memory_of(shape, Load(1, n), "float16").cache for n in (4096, 8192))
    assert long == 2 * short == 36 * 8192 * 2 * 8 * 64 * 2


def test_recurrent_state_is_the_same_for_any_context() -> None:
    shape = read_shape(known_models()["qwen3-next-80b-a3b"].config, "qwen3-next")
    states = {memory_of(shape, Load(1, n), "float16").state for n in (1, 100_000)}
    assert states == {36 * 4 * (32 * 128 * 128 + 3 * 8192)}
    assert memory_of(shape, Load(3, 1), "float16").state == 3 * states.pop()


@pytest.mark.parametrize("kv", ("float32", "float16", "int8"))
@pytest.mark.parametrize("tiny", (LLAMA, GPT_OSS, SEED_OSS), ids=lambda tiny: tiny.name)
def test_the_cache_is_as_large_as_the_engine_makes_it(
    tmp_path: Path, kv: KvFormat, tiny: Tiny
) -> None:
    path = tiny_gguf(tiny, tmp_path / "tiny.gguf")
    model = load_model(path, kv=kv)
    try:
        planned = sum(c.layers * entry_bytes(c, kv) for c in read_gguf(path).caches)
        assert planned == model.kv_bytes_per_position
    finally:
        model.close()


@pytest.mark.parametrize("tiny", (LLAMA, QWEN3_MOE), ids=lambda tiny: tiny.name)
def test_a_step_has_as_many_rows_as_in_the_engine(tmp_path: Path, tiny: Tiny) -> None:
    path = tiny_gguf(tiny, tmp_path / "tiny.gguf")
    model = load_model(path)
    try:
        assert step_rows(read_gguf(path)) == model.max_rows
    finally:
        model.close()


@pytest.mark.parametrize("tiny", (LLAMA, QWEN3_MOE, GPT_OSS, SEED_OSS), ids=lambda tiny: tiny.name)
def test_a_gguf_file_and_its_configuration_are_the_same_model(tmp_path: Path, tiny: Tiny) -> None:
    from wazn.weights.bounded_json import parse_object
    from wazn.weights.gguf import GGUF

    path = tiny_gguf(tiny, tmp_path / "tiny.gguf")
    folder = tiny_directory(tiny, tmp_path / "tiny")
    config = parse_object((folder / "config.json").read_bytes(), "config.json")
    from_file, from_config = read_gguf(path), read_shape(config, "config.json")
    assert from_file.caches == from_config.caches
    assert from_file.experts == from_config.experts
    with GGUF(path) as container:
        held = sum(tensor.nbytes for tensor in container.tensors.values())
    assert sum(part.num_bytes for part in from_file.weights) == held


@pytest.mark.parametrize("name", RECIPES)
def test_every_format_weighs_what_its_bits_say(name: str) -> None:
    shape = in_format(LLAMA_8B, name.lower())
    bits = sum(part.num_bytes for part in shape.weights) * 8 / shape.parameters
    assert 4.4 < bits <= 32


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"'Q9' is not one of Q4_0, Q4_1"):
        in_format(LLAMA_8B, "Q9")


@pytest.mark.parametrize(("users", "context"), [(0, 1), (1, 0), (10**6, 1), (1, 10**12)])
def test_a_load_that_cannot_be_is_refused(users: int, context: int) -> None:
    with pytest.raises(BadRequest, match="give a number from 1 to"):
        Load(users, context)
