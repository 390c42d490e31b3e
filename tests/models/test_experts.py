"""Checkpoints with experts: how their files may keep them, what is refused, what is counted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from tests.golden.answers import sequence
from tests.golden.build import stack_experts, tiny_directory, tiny_gguf, write_safetensors
from tests.golden.catalogue import QWEN3_MOE
from tests.golden.tensors import draw
from tests.models.random_models import EXPERTS, random_config, random_model, random_weights
from tests.models.test_checkpoint import CONFIG, GGUF_METADATA
from wazn import LLM, native
from wazn.errors import BadFile, UnsupportedModel
from wazn.models.blocks import Layer, Linear, embed, emit, sigmoid
from wazn.models.checkpoint import open_checkpoint
from wazn.models.config import Config, from_gguf, from_huggingface
from wazn.models.expert_config import ExpertConfig
from wazn.models.expert_stacks import find_stacks
from wazn.models.load import load_model
from wazn.models.lowering import Shape, lower
from wazn.models.recorder import Recorder, Tensor
from wazn.weights.container import TensorInfo
from wazn.weights.formats import Format

MOE: dict[str, Any] = {
    **CONFIG,
    "model_type": "qwen3_moe",
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "norm_topk_prob": True,
}
MOE_GGUF: dict[str, Any] = {
    **{key.replace("llama.", "qwen3moe."): value for key, value in GGUF_METADATA.items()},
    "general.architecture": "qwen3moe",
    "qwen3moe.expert_count": 8,
    "qwen3moe.expert_used_count": 2,
    "qwen3moe.expert_feed_forward_length": 48,
}


def read(**changes: Any) -> Config:
    return from_huggingface({**MOE, **changes}, "config.json", 100)


def read_gguf(family: str = "qwen3moe", **changes: Any) -> Config:
    values = {**MOE_GGUF, **{f"qwen3moe.{key}": value for key, value in changes.items()}}
    renamed = {key.replace("qwen3moe.", f"{family}."): value for key, value in values.items()}
    return from_gguf({**renamed, "general.architecture": family}, "file", 100, False, ())


def test_expert_counts_are_read_from_both_kinds_of_files() -> None:
    expected = ExpertConfig(count=8, per_token=2, intermediate_size=48, normalize=True)
    assert read().experts == expected
    assert read(num_experts=None, num_local_experts=8).experts == expected
    assert read_gguf().experts == expected
    assert read(num_experts=0).experts is None
    assert read_gguf(expert_count=0).experts is None


def test_whether_weights_are_normalised_is_the_files_or_the_familys_word() -> None:
    def normalizes(config: Config) -> bool:
        assert config.experts is not None
        return config.experts.normalize

    assert not normalizes(read(norm_topk_prob=None))
    assert not normalizes(read_gguf("qwen2moe"))
    assert not normalizes(read_gguf(expert_weights_norm=False))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"num_experts": 5000}, BadFile, "num_experts is '5000'"),
        ({"num_experts_per_tok": 9}, BadFile, "9 experts for each token of only 8"),
        ({"moe_intermediate_size": None}, BadFile, "moe_intermediate_size"),
        ({"norm_topk_prob": 1}, BadFile, "norm_topk_prob is '1'"),
        ({"mlp_only_layers": [0]}, UnsupportedModel, "mlp_only_layers"),
        ({"decoder_sparse_step": 2}, UnsupportedModel, "decoder_sparse_step"),
    ],
)
def test_a_bad_value_is_named(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expert_gating_func": 9}, r"qwen3moe\.expert_gating_func is '9'"),
        ({"expert_gating_func": [1]}, "expert_gating_func"),
    ],
)
def test_a_variant_without_support_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        read_gguf(**changes)


def directory_with(folder: Path, **changes: Any) -> Path:
    path = tiny_directory(QWEN3_MOE, folder / "model")
    config = {**QWEN3_MOE.config, **changes}
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_experts_and_families_must_fit(tmp_path: Path) -> None:
    path = directory_with(tmp_path, model_type="qwen3")
    with pytest.raises(UnsupportedModel, match="mixtures of 12 experts of the family qwen3"):
        open_checkpoint(path)
    (path / "config.json").write_text(json.dumps({**QWEN3_MOE.config, "num_experts": None}))
    with pytest.raises(BadFile, match="the number of them is not stated"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_experts": 11}, "is a stack of 12 where the model has 11 experts"),
        ({"moe_intermediate_size": 64}, r"\(12, 32, 64\).* do not fit 12 experts of width 64"),
    ],
)
def test_matrices_of_another_shape_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadFile, match=message):
        load_model(directory_with(tmp_path, **changes))


def test_a_missing_expert_is_named(tmp_path: Path) -> None:
    path = directory_with(tmp_path)
    tensors = draw(QWEN3_MOE.config, QWEN3_MOE.seed)
    del tensors["model.layers.1.mlp.experts.4.up_proj.weight"]
    write_safetensors(tensors, path / "model.safetensors", GGMLQuantizationType.F32)
    with pytest.raises(BadFile, match=r"layers\.1\.mlp\.experts\.up_proj.*expert 4 is missing"):
        open_checkpoint(path)


def test_fused_stacks_give_the_same_model_as_single_matrices(tmp_path: Path) -> None:
    single = directory_with(tmp_path)
    tensors = stack_experts(draw(QWEN3_MOE.config, QWEN3_MOE.seed))
    for name in [name for name in tensors if name.endswith("experts.gate_proj.weight")]:
        stem = name.removesuffix("gate_proj.weight")
        halves = [tensors.pop(f"{stem}{half}_proj.weight") for half in ("gate", "up")]
        tensors[f"{stem}gate_up_proj"] = np.concatenate(halves, axis=1)
        tensors[f"{stem}down_proj"] = tensors.pop(f"{stem}down_proj.weight")
    fused = tmp_path / "fused"
    fused.mkdir()
    (fused / "config.json").write_text(json.dumps(QWEN3_MOE.config))
    write_safetensors(tensors, fused / "model.safetensors", GGMLQuantizationType.F32)
    ids = sequence(QWEN3_MOE)[:20]
    with LLM(single) as one, LLM(fused) as other:
        np.testing.assert_array_equal(one.logits(ids), other.logits(ids))


def info(name: str, *shape: int) -> TensorInfo:
    return TensorInfo(name, shape, Format.F32, 0, 0, 4 * int(np.prod(shape)))


def stacks_of(*tensors: TensorInfo) -> dict[str, list[tuple[str, int, int]]]:
    found = find_stacks({tensor.name: tensor for tensor in tensors})
    return {name: [(p.name, p.start, p.rows) for p in pieces] for name, pieces in found.items()}


def test_gguf_files_may_fuse_gate_and_up_and_store_one_row_as_a_vector() -> None:
    fused, gate = "blk.3.ffn_gate_up_exps.weight", "blk.3.ffn_gate_inp_shexp.weight"
    assert stacks_of(info(fused, 2, 8, 32), info(gate, 32)) == {
        "blk.3.ffn_gate_exps.weight": [(fused, 0, 4), (fused, 8, 4)],
        "blk.3.ffn_up_exps.weight": [(fused, 4, 4), (fused, 12, 4)],
        gate: [(gate, 0, 1)],
    }


def test_fused_tensors_of_other_shapes_are_refused() -> None:
    fused = "blk.3.ffn_gate_up_exps.weight"
    with pytest.raises(BadFile, match="7 rows, which gate and up cannot share"):
        stacks_of(info(fused, 2, 7, 32))
    with pytest.raises(BadFile, match="2 dimensions where a stack has 3"):
        stacks_of(info(fused, 8, 32))


def test_a_layer_of_experts_becomes_three_operations() -> None:
    listing = random_model("qwen3_moe", Format.Q4_0).describe_program().splitlines()
    block = listing[listing.index("segment embed") + 1 : listing.index("segment block 0")]
    route, up, down = block[-3:]
    assert "the 3 largest of softmax F32 9x256, normalised" in route
    assert "silu(Q4_0 9 x 256x256) * Q4_0 9 x 256x256" in up
    assert "b0 += Q4_0 9 x 256x256" in down
    assert "sigmoid" in random_model("qwen2_moe", Format.Q4_0).describe_program()


def test_only_the_experts_of_a_token_are_counted() -> None:
    model = random_model("qwen3_moe", Format.Q8_0)
    places = model.weights.places
    stacks = [place for place in places.values() if place.count > 1]
    assert len(stacks) == 6 and all(place.count == EXPERTS for place in stacks)
    macs = sum(place.rows * place.columns for place in stacks)
    others = sum(
        place.rows * place.columns
        for name, place in places.items()
        if "layers" in name and place.count == 1 and place.rows > 1
    )
    assert model.macs_per_token == 3 * macs + others
    idle = sum(place.num_bytes // EXPERTS * (EXPERTS - 3) for place in stacks)
    used = sum(p.num_bytes for n, p in places.items() if n != "model.norm.weight") - idle
    assert model.bytes_per_step == used


def test_a_stack_is_no_projection() -> None:
    weights = random_weights("qwen3_moe", Format.Q4_0)
    layer = Layer(weights, random_config("qwen3_moe"), 0)
    with pytest.raises(BadFile, match="is a stack of 9 where one matrix is expected"):
        layer.linear("mlp.experts.gate_proj")


def lowered(function: Callable[[Tensor, Layer], Tensor]) -> list[str]:
    """The listing of a function of the embedding and the first layer."""
    weights = random_weights("qwen3_moe", Format.Q4_0)
    recorder = Recorder()
    x = embed(recorder, weights.matrix("model.embed_tokens.weight"))
    emit(function(x, Layer(weights, random_config("qwen3_moe"), 0)))
    recorder.end_segment("all")
    return list(lower(recorder, Shape(8, False, 2, 32, "float16", False), native.Pool(1)).listing)


def test_experts_need_no_residual() -> None:
    listing = lowered(lambda x, layer: layer.experts("mlp.experts")(x, layer.router("mlp.gate")(x)))
    (down,) = [line for line in listing if "experts b" in line and "silu" not in line]
    assert " = Q4_0 9 x 256x256" in down and "+=" not in down


def test_a_single_gate_is_for_residuals_only() -> None:
    with pytest.raises(UnsupportedModel, match="can only be added to a residual"):
        lowered(lambda x, layer: sigmoid(one_column(x)) * x)


def one_column(x: Tensor) -> Tensor:
    weights = random_weights("qwen2_moe", Format.Q4_0)
    name = "model.layers.0.mlp.shared_expert_gate.weight"
    return Linear(name, weights.matrix(name), None)(x)


def test_inputs_of_another_width_are_refused() -> None:
    def narrow(x: Tensor, layer: Layer) -> Tensor:
        return layer.linear("self_attn.k_proj")(x)

    with pytest.raises(BadFile, match="256 columns where the model's shape needs 64"):
        lowered(lambda x, layer: layer.router("mlp.gate")(narrow(x, layer)))
    with pytest.raises(BadFile, match="takes 256 columns where the model's shape needs 64"):
        lowered(
            lambda x, layer: layer.experts("mlp.experts")(
                narrow(x, layer), layer.router("mlp.gate")(x)
            )
        )


def test_gguf_and_directory_give_the_same_bits(tmp_path: Path) -> None:
    ids = sequence(QWEN3_MOE)[:30]
    gguf = tiny_gguf(QWEN3_MOE, tmp_path / "model.gguf")
    with LLM(directory_with(tmp_path)) as one, LLM(gguf) as other:
        np.testing.assert_array_equal(one.logits(ids), other.logits(ids))
