"""What configurations say of windows, and files of gpt-oss: read, or refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from tests.golden import gpt_oss_files
from tests.golden.build import encoded, tiny_directory, write_safetensors
from tests.golden.tensors import draw
from tests.golden.window_families import CATALOGUE, GPT_OSS, MISTRAL
from tests.models.later_models import part, write_tensors
from wazn.errors import BadFile, UnsupportedModel, WaznError
from wazn.models.config import Config, from_gguf, from_huggingface
from wazn.models.load import load_model

CONFIGS: dict[str, dict[str, Any]] = {tiny.name: dict(tiny.config) for tiny in CATALOGUE}
SLIDING, FULL = "sliding_attention", "full_attention"


def read(name: str, **changes: Any) -> Config:
    values = {k: v for k, v in (CONFIGS[name] | changes).items() if v != "absent"}
    return from_huggingface(values, "config.json", 311)


@pytest.mark.parametrize(
    ("name", "changes", "windows"),
    [
        ("gpt_oss", {}, (16, None, 16, None)),
        ("gpt_oss", {"layer_types": "absent"}, (16, None, 16, None)),
        ("gpt_oss", {"layer_types": [FULL] * 4}, ()),
        ("gpt_oss", {"sliding_window": "absent"}, (128, None, 128, None)),
        ("mistral", {}, (24, 24, 24)),
        ("mistral", {"sliding_window": "absent"}, (4096, 4096, 4096)),
        ("mistral", {"sliding_window": None}, ()),
        ("qwen2_window", {}, (None, None, 20, 20)),
        ("qwen2_window", {"use_sliding_window": False}, ()),
        ("qwen2_window", {"sliding_window": None}, ()),
        ("qwen2_window", {"sliding_window": "absent"}, (None, None, 4096, 4096)),
        ("qwen2_window", {"max_window_layers": "absent"}, ()),
        ("qwen2_window", {"max_window_layers": 0}, (20, 20, 20, 20)),
        ("qwen3_window", {}, (65, None, 65)),
        ("qwen3_window", {"layer_types": None, "max_window_layers": 1}, (None, 65, 65)),
    ],
)
def test_the_windows_of_layers_are_those_of_transformers(
    name: str, changes: dict[str, Any], windows: tuple[int | None, ...]
) -> None:
    config = read(name, **changes)
    assert config.windows == windows
    expected = windows or (None,) * config.num_layers
    assert tuple(config.window(layer) for layer in range(config.num_layers)) == expected


def test_mixtures_of_qwen_have_windows_of_their_own() -> None:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    second = read("qwen2_window", model_type="qwen2_moe", max_window_layers=3, **experts)
    assert second.windows == (20, None, 20, None)
    third = read("qwen3_window", model_type="qwen3_moe", layer_types=None, **experts)
    assert third.windows == (65, 65, 65)


def test_what_a_file_leaves_open_is_filled_as_transformers_does() -> None:
    config = read("gpt_oss", head_dim="absent", swiglu_limit="absent")
    assert config.head_dim == 64
    assert config.experts is not None
    assert config.experts.limit == 7.0
    assert config.experts.intermediate_size == 40
    assert not config.rope_scaling.truncate
    assert read("seed_oss", head_dim=None).head_dim == 128


@pytest.mark.parametrize(
    ("name", "changes", "error", "message"),
    [
        ("gpt_oss", {"layer_types": [SLIDING]}, BadFile, "for each of 4 layers"),
        ("gpt_oss", {"layer_types": ["chunked"] * 4}, BadFile, "layer_types is"),
        ("gpt_oss", {"layer_types": 7}, BadFile, "layer_types is '7'"),
        ("gpt_oss", {"sliding_window": 0}, BadFile, "sliding_window is '0'"),
        ("gpt_oss", {"sliding_window": None}, BadFile, "there is no sliding_window"),
        ("gpt_oss", {"sliding_window": 2**40}, BadFile, "sliding_window"),
        ("gpt_oss", {"swiglu_alpha": 1.5}, UnsupportedModel, "swiglu_alpha 1.5"),
        ("gpt_oss", {"swiglu_limit": -7.0}, BadFile, "swiglu_limit is '-7.0'"),
        ("gpt_oss", {"rope_scaling": None}, BadFile, "no scaling of rope"),
        ("gpt_oss", {"num_experts_per_tok": 7}, BadFile, "7 experts for each token of only 6"),
        ("mistral", {"sliding_window": -1}, BadFile, "sliding_window is '-1'"),
        ("mistral", {"layer_types": [SLIDING, FULL, FULL]}, UnsupportedModel, "layer_types"),
        ("qwen2_window", {"max_window_layers": -1}, BadFile, "max_window_layers is '-1'"),
        (
            "qwen2_window",
            {"use_sliding_window": False, "layer_types": [SLIDING] * 4},
            BadFile,
            "us",
        ),
        ("seed_oss", {"use_sliding_window": True, "sliding_window": 9}, UnsupportedModel, "seed"),
    ],
)
def test_a_bad_value_is_named(
    name: str, changes: dict[str, Any], error: type[WaznError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(name, **changes)


METADATA: dict[str, Any] = {
    "block_count": 4,
    "context_length": 512,
    "embedding_length": 64,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.key_length": 32,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "attention.sliding_window": 128,
    "expert_count": 4,
    "expert_used_count": 2,
    "expert_feed_forward_length": 40,
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": 32.0,
}


def read_gguf(family: str = "gpt-oss", **changes: Any) -> Config:
    values = METADATA | {f"attention.sliding_window{key}": v for key, v in changes.items()}
    metadata = {f"{family}.{key}": value for key, value in values.items()}
    return from_gguf({"general.architecture": family, **metadata}, "file", 100, False, ())


def test_gguf_says_which_layers_have_a_window_or_leaves_it_to_the_family() -> None:
    config = read_gguf()
    assert config.windows == (128, None, 128, None)
    assert config.experts is not None and config.experts.limit == 7.0
    assert config.experts.normalize
    assert not config.rope_scaling.truncate
    assert read_gguf(_pattern=4).windows == (128, 128, 128, None)
    assert read_gguf(_pattern=0).windows == (128,) * 4
    assert read_gguf(_pattern=[True, True, False, True]).windows == (128, 128, None, 128)


@pytest.mark.parametrize(
    ("family", "changes", "error", "message"),
    [
        ("gpt-oss", {"": None}, BadFile, "sliding_window is 'None'"),
        ("gpt-oss", {"_pattern": -1}, BadFile, "sliding_window_pattern is '-1'"),
        ("gpt-oss", {"_pattern": [True]}, BadFile, "a flag for each of 4"),
        ("gpt-oss", {"_pattern": [2, 0, 1, 0]}, BadFile, "sliding_window_pattern"),
        ("qwen3moe", {"": 64}, UnsupportedModel, "windows of this architecture"),
    ],
)
def test_bad_windows_of_gguf_are_named(
    family: str, changes: dict[str, Any], error: type[WaznError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_gguf(family, **changes)


def same_logits(folders: list[Path]) -> None:
    """Bit for bit, in float32 arithmetic."""
    logits = []
    for folder in folders:
        model = load_model(folder, precision="exact")
        model.open_cache(8)
        logits.append(part(model, list(range(100)), 0, 100))
    np.testing.assert_array_equal(logits[0], logits[1])


def test_experts_in_4_bit_floats_have_the_logits_of_their_values(tmp_path: Path) -> None:
    config = {**GPT_OSS.config, "hidden_size": 96, "intermediate_size": 64}
    blocks, plain = gpt_oss_files.with_blocks(draw(config, 3), 3)
    quantised = {**config, "quantization_config": {"quant_method": "mxfp4"}}
    folders = write_tensors(quantised, blocks, tmp_path / "blocks")
    same_logits([folders, write_tensors(config, plain, tmp_path / "floats")])


def test_a_bfloat16_directory_has_the_logits_of_its_values(tmp_path: Path) -> None:
    tiny, kind = GPT_OSS, GGMLQuantizationType.BF16
    bits = {n: encoded(x, kind).astype(np.uint32) << 16 for n, x in draw(tiny.config, 1).items()}
    values = {name: x.view(np.float32) for name, x in bits.items()}
    floats = write_tensors(tiny.config, values, tmp_path / "floats")
    folder = tmp_path / "bfloat16"
    folder.mkdir()
    (folder / "config.json").write_text((floats / "config.json").read_text())
    write_safetensors(values, folder / "model.safetensors", kind)
    same_logits([floats, folder])


@pytest.mark.parametrize(
    ("tensor", "shape", "message"),
    [
        ("self_attn.sinks", (3,), "6 attention heads cannot have 3 sinks"),
        ("mlp.router.bias", (3,), "the bias of model.layers.0.mlp.gate.weight has 3 elements"),
        ("mlp.experts.gate_up_proj_bias", (6, 70), "have 210 elements where 6 experts have 40"),
        ("mlp.experts.down_proj_bias", (5, 80), "have 400 elements where 6 experts have 80"),
        ("mlp.experts.gate_up_proj", (6, 80, 79), "do not fit 6 experts of width 40"),
        ("mlp.experts.gate_up_proj", (480, 80), "has 2 dimensions where a stack has 3"),
        ("mlp.experts.down_proj", (5, 40, 80), "is a stack of 5 where the model has 6 experts"),
    ],
)
def test_a_tensor_of_another_shape_is_named(
    tensor: str, shape: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    tensors = draw(GPT_OSS.config, 1)
    tensors[f"model.layers.0.{tensor}"] = np.ones(shape, np.float32)
    folder = write_tensors(GPT_OSS.config, tensors, tmp_path / "model")
    with pytest.raises(BadFile, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    "tensor", ["self_attn.sinks", "mlp.router.bias", "mlp.experts.down_proj_bias"]
)
def test_a_missing_tensor_is_named(tensor: str, tmp_path: Path) -> None:
    tensors = draw(GPT_OSS.config, 1)
    del tensors[f"model.layers.2.{tensor}"]
    folder = write_tensors(GPT_OSS.config, tensors, tmp_path / "model")
    with pytest.raises(BadFile, match=r"model\.layers\.2\..* is missing, and the family gpt_oss"):
        load_model(folder)


def test_programs_say_what_layers_see(tmp_path: Path) -> None:
    model = load_model(tiny_directory(GPT_OSS, tmp_path / "gpt"))
    program = model.describe_program()
    assert program.count("the last 16 positions, with sinks") == 2
    assert program.count("with sinks") == 4
    assert "normalised" in program and "6x80 + bias)" in program
    assert "clamped(F32 6 x 40x80) * F32 6 x 40x80" in program
    other = load_model(tiny_directory(MISTRAL, tmp_path / "mistral"))
    assert other.describe_program().count("the last 24 positions") == 3
