"""Whole models in the published ways of quantising, and weights rounded by choice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from tests.golden.build import read_config, tiny_directory, tiny_gguf
from tests.golden.catalogue import LLAMA, QWEN3, QWEN3_MOE, Tiny
from tests.golden.tensors import draw
from tests.weights.quantised import writers
from tests.weights.quantised.writers import Coding, Floats, Typed, Written, write
from wazn import LLM
from wazn.errors import BadFile, BadRequest, UnsupportedModel
from wazn.models.load import Listener, load_model
from wazn.models.model import Model
from wazn.settings import load_settings
from wazn.weights.disk import format_bytes
from wazn.weights.packed_cache import PackedCache

Writer = Callable[[np.random.Generator, tuple[int, int]], Written]
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]


def float8(rng: np.random.Generator, shape: tuple[int, int]) -> Written:
    codes = (writers.float8_codes(rng, shape) & 0xBF).astype(np.uint8)  # below 2: ordinary weights
    exponents = rng.integers(121, 124, (-(-shape[0] // 32), -(-shape[1] // 32))).astype(np.uint8)
    scales = np.exp2(exponents.astype(np.float32) - 127)
    tensors: dict[str, Typed] = {
        "weight": ("F8_E4M3", codes),
        "weight_scale_inv": ("F8_E8M0", exponents),
    }
    return Written(tensors, writers.float8_values(codes, scales, (32, 32)))


def coded(shape: tuple[int, int], **how: Any) -> Coding:
    return Coding(rows=shape[0], columns=shape[1], group=32, **how)


METHODS: dict[str, tuple[dict[str, Any], Writer]] = {
    "gptq": (
        {"quant_method": "gptq", "bits": 4, "group_size": 32},
        lambda rng, shape: writers.gptq(rng, coded(shape)),
    ),
    "awq": ({"quant_method": "awq"}, lambda rng, shape: writers.awq(rng, coded(shape))),
    "packed": (
        {"quant_method": "compressed-tensors", "format": "pack-quantized"},
        lambda rng, shape: writers.pack_quantized(
            rng, coded(shape, scales="BF16"), symmetric=False
        ),
    ),
    "bytes": (
        {"quant_method": "compressed-tensors", "format": "int-quantized"},
        lambda rng, shape: writers.int_quantized(rng, coded(shape), symmetric=True),
    ),
    "fp8": ({"quant_method": "fp8", "weight_block_size": [32, 32]}, float8),
}


def twins(tiny: Tiny, method: str, folder: Path) -> tuple[Path, Path]:
    """A quantised model, and the float32 model of its weights."""
    settings, writer = METHODS[method]
    rng = np.random.default_rng(0)
    quantised: dict[str, Typed] = {}
    floats: dict[str, Typed] = {}
    for name, values in draw(read_config(tiny), tiny.seed).items():
        if name == "model.embed_tokens.weight":  # no layer outshouts it, as in trained models
            values = values * np.float32(4)
        if name.endswith("_proj.weight"):
            written = writer(rng, (values.shape[0], values.shape[1]))
            quantised |= written.named(name.removesuffix(".weight"))
            floats[name] = "F32", written.values
        else:
            quantised[name] = floats[name] = "F32", values
    return (
        directory(tiny, folder / "quantised", quantised, settings),
        directory(tiny, folder / "floats", floats, None),
    )


def directory(
    tiny: Tiny, folder: Path, tensors: dict[str, Typed], settings: dict[str, Any] | None
) -> Path:
    tiny_directory(tiny, folder)
    write(folder / "model.safetensors", tensors)
    config = json.loads((folder / "config.json").read_text())
    if settings is not None:
        config["quantization_config"] = settings
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def logits(path: Path, **options: Any) -> Floats:
    with LLM(path, threads=2, **options) as llm:
        return llm.logits(IDS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tiny", [LLAMA, QWEN3, QWEN3_MOE], ids=lambda tiny: tiny.name)
def test_a_quantised_model_computes_what_its_dequantised_twin_computes(
    tmp_path: Path, tiny: Tiny, method: str
) -> None:
    quantised, floats = twins(tiny, method, tmp_path)
    expected = logits(floats, precision="exact")
    np.testing.assert_array_equal(logits(quantised, precision="exact"), expected)
    fast = logits(quantised)
    bound = 0.15 if method == "bytes" else 0.01  # whose weights are so large that experts flip
    assert np.linalg.norm(fast - expected) < bound * np.linalg.norm(expected)


def test_experts_of_4_bit_floats_compute_what_their_dequantised_twins_compute(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(1)
    tensors = draw(read_config(QWEN3_MOE), QWEN3_MOE.seed)
    kept = {name: ("F32", v) for name, v in tensors.items() if ".experts." not in name}
    quantised: dict[str, Typed] = dict(kept)
    floats: dict[str, Typed] = dict(kept)
    for layer in range(QWEN3_MOE.config["num_hidden_layers"]):
        stem = f"model.layers.{layer}.mlp.experts"
        for matrix, rows, columns in (("gate_up", 64, 64), ("down", 64, 32)):
            blocks = rng.integers(0, 256, (12, rows, columns // 32, 16)).astype(np.uint8)
            scales = rng.integers(120, 124, (12, rows, columns // 32)).astype(np.uint8)
            quantised[f"{stem}.{matrix}_proj_blocks"] = "U8", blocks
            quantised[f"{stem}.{matrix}_proj_scales"] = "U8", scales
            values = writers.mxfp4_values(blocks, scales)
            parts = {"gate": values[:, 0::2], "up": values[:, 1::2], "down": values}
            for part in ("gate", "up") if matrix == "gate_up" else ("down",):
                for expert in range(12):
                    floats[f"{stem}.{expert}.{part}_proj.weight"] = "F32", parts[part][expert]
    left = directory(QWEN3_MOE, tmp_path / "q", quantised, {"quant_method": "mxfp4"})
    right = directory(QWEN3_MOE, tmp_path / "f", floats, None)
    np.testing.assert_array_equal(logits(left, precision="exact"), logits(right, precision="exact"))


def test_tensors_that_a_model_does_not_use_are_left_alone(tmp_path: Path) -> None:
    tensors: dict[str, Typed] = {
        name: ("F32", values) for name, values in draw(read_config(LLAMA), LLAMA.seed).items()
    }
    before = logits(directory(LLAMA, tmp_path / "plain", tensors, None), precision="exact")
    tensors |= {
        "model.visual.patch_embed.weight": ("F32", np.ones((4, 4), "<f4")),
        "mtp.layers.0.self_attn.q_proj.weight": ("F8_E4M3", np.ones((4, 4), np.uint8)),
        "model.layers.0.self_attn.rotary_emb.position_ids": ("I64", np.arange(4)),
    }
    after = logits(directory(LLAMA, tmp_path / "more", tensors, None), precision="exact")
    np.testing.assert_array_equal(after, before)


def loaded(path: Path, weights: Any) -> tuple[Model, list[str]]:
    sentences: list[str] = []
    model = load_model(path, threads=2, weights=weights, listener=Listener(notify=sentences.append))
    return model, sentences


@pytest.mark.parametrize("tiny", [LLAMA, QWEN3_MOE], ids=lambda tiny: tiny.name)
@pytest.mark.parametrize("kind", ["directory", "gguf"])
def test_floats_are_rounded_by_choice_and_the_loss_is_said_at_every_start(
    tmp_path: Path, tiny: Tiny, kind: str
) -> None:
    path = (
        tiny_directory(tiny, tmp_path / "m", shards=2)
        if kind == "directory"
        else tiny_gguf(tiny, tmp_path / "m.gguf", GGMLQuantizationType.BF16)
    )
    exact = logits(path, precision="exact")
    distances = []
    for weights, formats in (("q8", {"Q8_0"}), ("q4", {"Q8_0", "Q4_1"})):
        model, sentences = loaded(path, weights)
        again = loaded(path, weights)[1]
        assert sentences == again != []
        assert sentences[0].startswith("Relative error of the weights")
        assert set(model.weights.loss.relative_errors()) == formats
        places = model.weights.places
        assert places["lm_head.weight"].format == "Q8_0"
        assert all(p.format in formats for n, p in places.items() if n.endswith("_proj.weight"))
        assert all(
            p.format in ("BF16", "F32") for n, p in places.items() if n.endswith("mlp.gate.weight")
        )
        rounded = logits(path, precision="exact", weights=weights)
        distances.append(np.linalg.norm(rounded - exact) / np.linalg.norm(exact))
    assert 0 < distances[0] < distances[1] < 0.6
    assert len(PackedCache(load_settings()).entries()) == 3  # a choice each
    assert loaded(path, "native")[1] == []


def test_integers_are_never_rounded_again(tmp_path: Path) -> None:
    quantised, _ = twins(LLAMA, "gptq", tmp_path)
    native, _ = loaded(quantised, "native")
    rounded, _ = loaded(quantised, "q4")
    for name, place in native.weights.places.items():
        if name.endswith("_proj.weight"):
            assert rounded.weights.places[name].format == place.format == "INT4"
    assert rounded.weights.places["lm_head.weight"].format == "Q8_0"


def test_8_bit_floats_are_rounded_once(tmp_path: Path) -> None:
    quantised, floats = twins(LLAMA, "fp8", tmp_path)
    left = logits(quantised, precision="exact", weights="q8")
    np.testing.assert_array_equal(left, logits(floats, precision="exact", weights="q8"))


def test_a_wish_without_effect_is_said(tmp_path: Path) -> None:
    tiny = tiny_gguf(LLAMA, tmp_path / "m.gguf", GGMLQuantizationType.Q8_0)
    assert loaded(tiny, "q4")[1] == [
        "weights=q4 changes nothing: this model has no matrices of floats."
    ]
    with pytest.raises(BadRequest, match="weights is 'q5'; it can be 'native', 'q8', 'q4'"):
        load_model(tiny, weights="q5")  # type: ignore[arg-type]


def test_weights_that_do_not_fit_in_memory_are_said_to_with_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_directory(LLAMA, tmp_path / "m")
    sizes = {w: loaded(path, w)[0].weight_bytes for w in ("native", "q8", "q4")}
    monkeypatch.setattr("wazn.models.load.available_memory", lambda: sizes["native"] - 1)
    sentences = [format_bytes(size) for size in sizes.values()]
    assert loaded(path, "native")[1] == [
        f"The weights take {sentences[0]} and {format_bytes(sizes['native'] - 1)} of memory are "
        "free: they will be read from the disk again and again; --weights q8 takes "
        f"{sentences[1]}, --weights q4 takes {sentences[2]}."
    ]
    assert not any("memory" in sentence for sentence in loaded(path, "q8")[1])


def test_another_quantization_config_is_packed_anew(tmp_path: Path) -> None:
    quantised, _ = twins(LLAMA, "gptq", tmp_path)
    first = logits(quantised, precision="exact")
    config = json.loads((quantised / "config.json").read_text())
    config["quantization_config"]["checkpoint_format"] = "gptq_v2"
    (quantised / "config.json").write_text(json.dumps(config))
    assert not np.array_equal(logits(quantised, precision="exact"), first)


def without(tiny: Tiny, folder: Path, name: str) -> Path:
    tensors: dict[str, Typed] = {
        n: ("F32", values) for n, values in draw(read_config(tiny), tiny.seed).items() if n != name
    }
    return directory(tiny, folder, tensors, None)


def test_a_missing_tensor_is_named_before_anything_is_packed(tmp_path: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    path = without(LLAMA, tmp_path / "m", name)
    with pytest.raises(BadFile, match=f"tensor '{name}' is missing, and the family llama needs it"):
        load_model(path)
    assert PackedCache(load_settings()).entries() == []
    with pytest.raises(BadFile, match="nearest supported family is llama itself"):
        load_model(path)


def test_the_family_that_the_tensors_fit_is_named(tmp_path: Path) -> None:
    path = tiny_directory(LLAMA, tmp_path / "m")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "model_type": "qwen3"}))
    with pytest.raises(BadFile, match=r"q_norm.* is missing.*nearest supported family is llama,"):
        load_model(path)


def test_a_matrix_without_its_scales_is_named_with_its_type(tmp_path: Path) -> None:
    quantised, _ = twins(LLAMA, "fp8", tmp_path)
    config = json.loads((quantised / "config.json").read_text())
    del config["quantization_config"]
    (quantised / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadFile, match=r"q_proj\.weight' is of type F8_E4M3, and no quant"):
        load_model(quantised)


def test_an_unknown_family_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen9_moe"}))
    with pytest.raises(
        UnsupportedModel, match=r"'qwen9_moe' are not supported.*qwen3_moe is nearest"
    ):
        load_model(tmp_path)
