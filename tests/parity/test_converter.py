"""GGUF files of the later families, made by llama.cpp's own converter and run by llama.cpp, too.

The converter comes with the sources of llama-cpp-python, which are fetched once. Only the name and
kind of the vocabulary are given to it: it knows those of published ones.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader

from tests.golden import catalogue, converted, gpt_oss_files, later_families, window_families
from tests.golden.build import stack_experts, tiny_directory, write_safetensors
from tests.golden.catalogue import FOLDER, Tiny
from tests.golden.tensors import draw
from tests.golden.weights import token_ids
from tests.parity.test_later_families import relative_error
from wazn import LLM

VERSION = "0.3.36"
TOLERANCE = 1e-4
DRIVER = """
import runpy, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/gguf-py"]
from conversion.base import TextModel
from conversion.deepseek import DeepseekV32Model
from conversion.ernie import Ernie4_5Model
TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
TextModel._set_vocab_sentencepiece = TextModel._set_vocab_gpt2  # the tiny vocabularies are such
Ernie4_5Model.set_vocab = DeepseekV32Model.set_vocab = TextModel._set_vocab_gpt2
script = sys.argv[1] + "/convert_hf_to_gguf.py"
sys.argv = [script, *sys.argv[2:]]
runpy.run_path(script, run_name="__main__")
"""
# llama.cpp has values of linear attention as large as keys, V2 without groups (it scores them as
# V3 does), queries that are not compressed in models of 26 or 27 layers only, and index heads of a
# multiple of 64. It rounds the range of yarn, which gpt-oss does not. Of ERNIE it takes for granted
# that every layer after the first ones has experts, and that shared ones are together as wide as
# an ordinary network divided by the KV heads. Grok's experts get weights that sum to 1, routers no
# cap, attention no temperature; a head is hidden / heads.
SAME_MATHS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama_tied": {},
    "qwen2": {},
    "qwen3": {},
    "qwen2_moe": {},
    "qwen3_moe": {},
    "deepseek_v2": {"topk_method": "greedy", "n_group": 1, "topk_group": 1},
    "deepseek_v2_lite": {"num_hidden_layers": 27},
    "deepseek_v3": {},
    "deepseek_v32": {"index_head_dim": 64},
    "qwen3_next": {"linear_key_head_dim": 16},
    "qwen3_5": {"linear_key_head_dim": 16},
    "qwen3_5_moe": {"linear_key_head_dim": 32},
    "gpt_oss": {"rope_scaling": {"rope_type": "default"}},
    "seed_oss": {},
    "llama4_long": {},
    "grok_2": {
        "num_attention_heads": 4,
        "head_dim": 16,
        "num_local_experts": 4,
        "num_experts_per_tok": 4,
        "router_logit_softcapping": 1e6,
        "rope_type": "default",
        "attn_temperature_len": 0,
    },
    "ernie4_5": {},
    "ernie4_5_moe": {"moe_layer_interval": 1, "moe_intermediate_size": 24},
    "ernie4_5_moe_unshared": {},
}
TOLERANCES = {"grok_2": 1e-3}  # GELU is a table of 16-bit floats there
EVERY = (*catalogue.CATALOGUE, *later_families.CATALOGUE, *window_families.CATALOGUE)
UNKNOWN = ("grok_1",)  # to the converter, under the names of its conversions to PyTorch
CONVERTED = [t for t in EVERY if converted.has_gguf(t.config) and t.name not in UNKNOWN]
REWRITTEN = [t for t in CONVERTED if converted.is_converted(t.config)]


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of llama.cpp's sources: ``WAZN_LLAMA_CPP``, or fetched."""
    if given := os.environ.get("WAZN_LLAMA_CPP"):
        return Path(given)
    folder = tmp_path_factory.mktemp("llama_cpp")
    package = f"llama-cpp-python=={VERSION}"
    fetch = ["download", "-q", "--no-binary", ":all:", "--no-deps", "--no-build-isolation", package]
    subprocess.run([sys.executable, "-m", "pip", *fetch, "-d", str(folder)], check=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("*/vendor/llama.cpp"))


def convert(sources: Path, directory: Path, path: Path) -> Path:
    command = [sys.executable, "-c", DRIVER, str(sources), str(directory), "--outfile", str(path)]
    family = str(json.loads((directory / "config.json").read_text())["model_type"])
    has_drafts = family.startswith(("qwen3_next", "qwen3_5"))
    options = ["--outtype", "f32", *(["--no-mtp"] if has_drafts else [])]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return path


def changed_directory(tiny: Tiny, folder: Path, changes: dict[str, Any]) -> Path:
    """The model with another configuration, and weights to match."""
    config = {**tiny.config, **changes}
    shutil.copytree(FOLDER / "tokenizers" / tiny.vocabulary, folder)
    (folder / "config.json").write_text(json.dumps(config))
    tensors = draw(config, tiny.seed)
    write_safetensors(tensors, folder / "model.safetensors", GGMLQuantizationType.F32)
    return folder


@pytest.mark.parametrize("tiny", CONVERTED, ids=lambda tiny: tiny.name)
def test_a_converted_file_has_the_logits_of_its_directory(
    tiny: Tiny, sources: Path, tmp_path: Path
) -> None:
    directory = tiny_directory(tiny, tmp_path / "model")
    path = convert(sources, directory, tmp_path / "model.gguf")
    ids = token_ids(tiny.name, 150, tiny.config["vocab_size"])
    with LLM(directory, precision="exact") as one, LLM(path, precision="exact") as other:
        error = relative_error(other.logits(ids), one.logits(ids))
    print(f"{tiny.name}: GGUF and safetensors differ by {error:.1e}")
    assert error < TOLERANCE


@pytest.mark.parametrize("tiny", REWRITTEN, ids=lambda tiny: tiny.name)
def test_golden_files_have_the_tensors_that_the_converter_writes(
    tiny: Tiny, sources: Path, tmp_path: Path
) -> None:
    directory = tiny_directory(tiny, tmp_path / "model")
    path = convert(sources, directory, tmp_path / "model.gguf")
    theirs = {t.name: np.array(t.data, np.float32) for t in GGUFReader(path).tensors}
    ours = converted.converted(tiny.config, stack_experts(draw(tiny.config, tiny.seed)))
    assert theirs.keys() == ours.keys()
    for name, values in ours.items():
        np.testing.assert_allclose(theirs[name].reshape(values.shape), values, rtol=1e-6)


@pytest.mark.parametrize("name", SAME_MATHS)
def test_llama_cpp_agrees_where_it_has_the_same_mathematics(
    name: str, sources: Path, tmp_path: Path
) -> None:
    (tiny,) = (t for t in EVERY if t.name == name)
    directory = changed_directory(tiny, tmp_path / "model", SAME_MATHS[name])
    path = convert(sources, directory, tmp_path / "model.gguf")
    ids = token_ids(name, 150, tiny.config["vocab_size"])
    theirs = llama_cpp.Llama(
        str(path), logits_all=True, n_ctx=256, n_batch=256, type_k=0, type_v=0, verbose=False
    )
    theirs.eval(ids)
    with LLM(path, precision="exact") as llm:
        error = relative_error(llm.logits(ids), np.array(theirs.scores[: len(ids)]))
    print(f"{name}: llama.cpp differs by {error:.1e}")
    assert error < TOLERANCES.get(name, TOLERANCE)


def test_experts_in_4_bit_floats_are_the_same_in_a_converted_file(
    sources: Path, tmp_path: Path
) -> None:
    tiny, directory = window_families.GPT_OSS, tmp_path / "model"
    config = {**tiny.config, "hidden_size": 96, "intermediate_size": 64}
    changed_directory(tiny, directory, config)
    config["quantization_config"] = {"quant_method": "mxfp4"}
    (directory / "config.json").write_text(json.dumps(config))
    blocks, _ = gpt_oss_files.with_blocks(draw(config, tiny.seed), tiny.seed)
    write_safetensors(blocks, directory / "model.safetensors", GGMLQuantizationType.F32)
    path = convert(sources, directory, tmp_path / "model.gguf")
    ids = token_ids(tiny.name, 150, tiny.config["vocab_size"])
    with LLM(directory, precision="exact") as one, LLM(path, precision="exact") as other:
        assert relative_error(other.logits(ids), one.logits(ids)) < TOLERANCE
