"""Grok: what its files say and may not, both kinds of names, and files divided among ranks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from tests.golden.build import tiny_gguf, write_safetensors
from tests.golden.grok_files import GROK_1, GROK_2
from tests.golden.tensors import Tensors, draw
from tests.golden.weights import token_ids
from tests.models.later_models import check_any_arrival, part, write_directory
from wazn import LLM, Completion, SamplingParams
from wazn.errors import BadFile, UnsupportedModel, WaznError
from wazn.models.checkpoint import open_checkpoint
from wazn.models.config import Config, from_gguf, from_huggingface
from wazn.models.load import load_model
from wazn.weights.gguf import GGUF

F32 = GGMLQuantizationType.F32


def read(**changes: Any) -> Config:
    return from_huggingface({**GROK_2.config, **changes}, "config.json", 311)


def test_what_grok_2_states_is_read() -> None:
    config = read()
    assert config.grok is not None and config.experts is not None
    assert config.rope_scaling.kind == "none" and not config.rope_interleaved
    assert (config.grok.logit_cap, config.grok.score_cap, config.experts.softcap) == (12, 4, 1.5)
    assert config.grok.score_scale == 32**-0.5
    assert config.temperature is not None and config.temperature.length == 16
    assert read(attn_temperature_len=-1).temperature is None


def test_what_grok_1_leaves_out_is_that_of_its_release() -> None:
    stated = {key: x for key, x in GROK_1.config.items() if key != "max_attn_value"}
    config = from_huggingface(stated, "config.json", 311)
    assert config.grok is not None and config.experts is not None
    assert config.grok.score_cap == 30 and config.grok.logit_cap == 0
    assert config.experts.softcap == 0 and config.experts.intermediate_size == 72
    assert config.temperature is None


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"architectures": ["GitForCausalLM"]}, UnsupportedModel, "only Grok-2 is supported"),
        ({"architectures": None}, UnsupportedModel, "only Grok-2 is supported"),
        ({"embedding_multiplier_scale": None}, BadFile, "embedding_multiplier_scale is 'None'"),
        ({"output_multiplier_scale": float("nan")}, BadFile, "output_multiplier_scale is 'nan'"),
        ({"embedding_multiplier_scale": 1e300}, BadFile, "embedding_multiplier_scale is '1e"),
        ({"final_logit_softcapping": 1e-300}, BadFile, "final_logit_softcapping is '1e-300'"),
        ({"output_multiplier_scale": 10**400}, BadFile, "output_multiplier_scale is '1000"),
        ({"attn_logit_softcapping": -1.0}, BadFile, "attn_logit_softcapping is '-1.0'"),
        ({"router_logit_softcapping": "high"}, BadFile, "router_logit_softcapping is 'high'"),
        ({"final_logit_softcapping": [50]}, BadFile, "final_logit_softcapping is '.50.'"),
        ({"attn_temperature_len": -7}, BadFile, "attn_temperature_len is '-7'"),
        ({"attn_temperature_len": 1}, BadFile, "attn_temperature_len is 1, whose logarithm"),
        ({"residual_moe": 1}, BadFile, "residual_moe is '1', not true or false"),
        ({"rope_type": "yarn_log"}, UnsupportedModel, "rope_type is 'yarn_log'; 'original' is"),
        ({"sliding_window_size": 128}, UnsupportedModel, "sliding_window_size is '128'"),
        ({"rope_rotate_half_dims": True}, UnsupportedModel, "rope_rotate_half_dims is 'True'"),
        ({"hidden_act": "silu"}, UnsupportedModel, "hidden_act 'silu' is not supported, gelu is"),
        ({"num_experts_per_tok": 9}, BadFile, "9 experts for each token of only 6"),
    ],
)
def test_a_bad_value_is_named(
    changes: dict[str, Any], error: type[WaznError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(**changes)


def test_gguf_files_of_old_have_what_grok_1_has(tmp_path: Path) -> None:
    with GGUF(tiny_gguf(GROK_1, tmp_path / "model.gguf")) as file:
        metadata = dict(file.metadata)
    unstated = ("softcapping", "_scale")
    bare = {key: x for key, x in metadata.items() if not key.endswith(unstated)}
    yarn = {"grok.rope.scaling.type": "yarn", "grok.rope.scaling.factor": 16.0}
    config = from_gguf({**bare, **yarn}, "model.gguf", 311, False, ())
    assert config.grok is not None and config.experts is not None
    assert (config.grok.embedding_scale, config.grok.logit_scale) == (
        78.38367176906169,
        0.5773502691896257,
    )
    assert (config.grok.score_cap, config.grok.logit_cap, config.experts.softcap) == (30, 0, 0)
    assert config.rope_scaling.kind == "none"


def write_ranks(tensors: Tensors, folder: Path, ranks: int) -> Path:
    """As Grok-2 is published: experts divided, the rest in common files."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(dict(GROK_2.config)))
    of_experts = {name for name in tensors if ".experts." in name}
    whole = {name: x for name, x in tensors.items() if name not in of_experts}
    write_safetensors(whole, folder / "pytorch_model-00000-TP-common.safetensors", F32)
    for rank in range(ranks):
        own = {
            name: np.split(x, ranks, axis=1 if name.endswith("w2.weight") else 0)[rank]
            for name, x in tensors.items()
            if name in of_experts
        }
        first = {name: np.ascontiguousarray(x) for name, x in own.items() if "layers.0." in name}
        other = {name: np.ascontiguousarray(x) for name, x in own.items() if name not in first}
        for number, part_of_rank in enumerate((first, other), 1):
            name = f"pytorch_model-{number:05}-TP-{rank:03}.safetensors"
            write_safetensors(part_of_rank, folder / name, F32)
    return folder


def test_files_divided_among_ranks_are_the_same_model(tmp_path: Path) -> None:
    tensors = draw(GROK_2.config, GROK_2.seed)
    whole = load_model(write_directory(GROK_2.config, GROK_2.seed, tmp_path / "whole"))
    ids = list(range(40))
    whole.open_cache(8)
    for ranks in (2, 8):
        divided = load_model(write_ranks(tensors, tmp_path / f"{ranks}", ranks))
        divided.open_cache(8)
        np.testing.assert_array_equal(part(divided, ids, 0, 40), part(whole, ids, 0, 40))


def test_a_missing_or_doubled_part_of_a_rank_is_named(tmp_path: Path) -> None:
    folder = write_ranks(draw(GROK_2.config, 1), tmp_path / "model", 4)
    lost = folder / "pytorch_model-00002-TP-001.safetensors"
    kept = lost.read_bytes()
    lost.unlink()
    with pytest.raises(BadFile, match="has no part of rank 1 where the model has 4 ranks"):
        load_model(folder)
    lost.write_bytes(kept)
    (folder / "again-TP-001.safetensors").write_bytes(kept)
    with pytest.raises(BadFile, match="is in another file of the same rank, too"):
        load_model(folder)


def test_parts_that_do_not_fit_are_named(tmp_path: Path) -> None:
    tensors = draw(GROK_2.config, 1)
    name = "model.layers.0.block_sparse_moe.experts.0.w2.weight"
    tensors[name] = tensors[name][:32]
    with pytest.raises(BadFile, match=r"differs from .* in shape or number format"):
        load_model(write_ranks(tensors, tmp_path / "model", 2))


def test_norms_may_be_called_scales(tmp_path: Path) -> None:
    folder = write_directory(GROK_1.config, GROK_1.seed, tmp_path / "model")
    plain = load_model(folder)
    renamed = {
        name.replace("norm.weight", "norm.scale"): x
        for name, x in draw(GROK_1.config, GROK_1.seed).items()
    }
    write_safetensors(renamed, folder / "model.safetensors", F32)
    other = load_model(folder)
    ids = list(range(30))
    for model in (plain, other):
        model.open_cache(8)
    np.testing.assert_array_equal(part(plain, ids, 0, 30), part(other, ids, 0, 30))


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(dict(GROK_1.config)))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(WaznError, match="has neither"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("precision", ["fast", "exact"])
def test_caps_and_temperatures_give_the_same_bits_however_rows_arrive(
    precision: Any, tmp_path: Path
) -> None:
    folder = write_directory(GROK_2.config, GROK_2.seed, tmp_path / "model")
    model = load_model(folder, precision=precision, threads=2)
    model.open_cache(64, 8)
    sequences = [token_ids(f"grok/{length}", length, 311) for length in (5, 110, 64)]
    assert all(np.abs(x).max() <= 12 for x in check_any_arrival(model, sequences))  # the cap


def test_a_program_says_what_it_does(tmp_path: Path) -> None:
    folder = write_directory(GROK_2.config, GROK_2.seed, tmp_path / "model")
    program = load_model(folder).describe_program()
    for words in (
        "*= 8",
        "scores up to 4",
        "tempered",
        "gelu_tanh",
        "products up to 1.5",
        "*= 0.7",
    ):
        assert words in program
    assert "logits *= 0.8, up to 12" in program


def test_probabilities_are_those_of_capped_logits(tmp_path: Path) -> None:
    folder = write_directory(GROK_2.config, GROK_2.seed, tmp_path / "model")
    prompt = list(range(30))
    with LLM(folder, precision="exact") as llm:
        last = llm.logits(prompt)[-1].astype(np.float64)
        params = SamplingParams(max_tokens=1, temperature=1.0, logprobs=3, seed=1)
        (completion,) = llm.generate([prompt], params)
    assert isinstance(completion, Completion) and completion.logprobs is not None
    expected = last - np.log(np.exp(last).sum())
    for token, logprob in completion.logprobs[0]["top"]:
        assert logprob == pytest.approx(expected[token], abs=1e-5)
