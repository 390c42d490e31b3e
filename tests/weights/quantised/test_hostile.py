"""Quantised checkpoints that lie: one error that names the tensor, before anything is read."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.weights.quantised import writers
from tests.weights.quantised.reading import opened, packed_values, values_of
from tests.weights.quantised.writers import Coding, Typed
from wazn.errors import BadFile, UnsupportedModel, WaznError
from wazn.weights.elements import BITS
from wazn.weights.scales import check_scales

Tensors = dict[str, Typed]
Change = Callable[[Tensors], object]

GPTQ = {"quant_method": "gptq", "bits": 4}
AWQ = {"quant_method": "awq", "bits": 4}
PACKED = {"quant_method": "compressed-tensors", "format": "pack-quantized"}
BYTES = {"quant_method": "compressed-tensors", "format": "int-quantized"}
FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}
MXFP4 = {"quant_method": "mxfp4"}


def float8() -> Tensors:
    codes = writers.float8_codes(np.random.default_rng(0), (130, 256))
    return {"a.weight": ("F8_E4M3", codes), "a.weight_scale_inv": ("F32", np.ones((2, 2), "<f4"))}


def experts() -> Tensors:
    return {
        "x.experts.gate_up_proj_blocks": ("U8", np.zeros((2, 8, 2, 16), np.uint8)),
        "x.experts.gate_up_proj_scales": ("U8", np.zeros((2, 8, 2), np.uint8)),
    }


def valid(settings: dict[str, Any]) -> Tensors:
    rng = np.random.default_rng(0)
    if settings is GPTQ:
        return writers.gptq(rng, Coding()).named("a")
    if settings is AWQ:
        return writers.awq(rng, Coding()).named("a")
    if settings is PACKED:
        return writers.pack_quantized(rng, Coding(), symmetric=False).named("a")
    if settings is BYTES:
        return writers.int_quantized(rng, Coding(), symmetric=False).named("a")
    return float8() if settings is FP8 else experts()


def put(name: str, dtype: str, shape: tuple[int, ...], fill: int = 0) -> Change:
    arrays = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "I8": "i1", "U8": "u1", "I32": "<i4"}
    array = np.full(shape, fill, arrays.get(dtype, "u1"))
    return lambda tensors: tensors.__setitem__(name, (dtype, array))


def both(first: Change, second: Change) -> Change:
    return lambda tensors: (first(tensors), second(tensors))


def drop(name: str) -> Change:
    return lambda tensors: tensors.pop(name)


def id_of(value: object) -> str | None:
    return value["quant_method"] if isinstance(value, dict) else None


@pytest.mark.parametrize("settings", [GPTQ, AWQ, PACKED, BYTES, FP8, MXFP4], ids=id_of)
def test_the_files_that_are_changed_below_are_read_as_they_are(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    container = opened(tmp_path, valid(settings), settings)
    for name in container.tensors:
        values_of(container, name)


@pytest.mark.parametrize(
    ("settings", "change", "kind", "message"),
    [
        (GPTQ, drop("a.scales"), BadFile, "no tensor named 'a.scales'"),
        (GPTQ, drop("a.qzeros"), BadFile, "no tensor named 'a.qzeros'"),
        (GPTQ, drop("a.qweight"), BadFile, "no tensor is"),
        (GPTQ, put("a.qweight", "I32", (32, 25)), BadFile, r"'a.scales' is F16 \[2, 24\]"),
        (GPTQ, put("a.qweight", "I64", (32, 24)), BadFile, "'a.qweight' is I64"),
        (GPTQ, put("a.qweight", "I32", (2, 3, 4)), UnsupportedModel, "has 3 dimensions"),
        (GPTQ, put("a.scales", "I32", (2, 24)), BadFile, "'a.scales' is I32"),
        (GPTQ, put("a.scales", "F16", (3, 24)), BadFile, "for 3 groups, which are not equal"),
        (
            GPTQ,
            both(
                both(put("a.scales", "F16", (32, 24)), put("a.qzeros", "I32", (32, 3))),
                drop("a.g_idx"),
            ),
            UnsupportedModel,
            "in groups of 8",
        ),
        (GPTQ, put("a.qzeros", "I32", (2, 4)), BadFile, r"'a.qzeros' is I32 \[2, 4\]"),
        (GPTQ, put("a.g_idx", "I32", (256,), 2), BadFile, "names group 2 of 2"),
        (GPTQ, put("a.g_idx", "I32", (256,), -1), BadFile, "'a.g_idx' names group"),
        (GPTQ, put("a.g_idx", "I32", (255,)), BadFile, r"'a.g_idx' is I32 \[255\]"),
        (AWQ, drop("a.qzeros"), BadFile, "no tensor named 'a.qzeros'"),
        (AWQ, put("a.qweight", "I32", (256, 4)), BadFile, r"'a.scales' is F16 \[2, 24\]"),
        (AWQ, put("a.qzeros", "I32", (2, 24)), BadFile, r"'a.qzeros' is I32 \[2, 24\]"),
        (AWQ, put("a.scales", "F16", (7, 24)), BadFile, "for 7 groups, which are not equal"),
        (PACKED, drop("a.weight_shape"), BadFile, "no tensor named 'a.weight_shape'"),
        (PACKED, drop("a.weight_scale"), BadFile, "no tensor named 'a.weight_scale'"),
        (PACKED, put("a.weight_shape", "I64", (2,), 1 << 40), UnsupportedModel, "does not hold"),
        (PACKED, put("a.weight_shape", "I64", (2,), -1), UnsupportedModel, "does not hold"),
        (PACKED, put("a.weight_shape", "I64", (3,), 24), BadFile, r"'a.weight_shape' is I64 \[3"),
        (PACKED, put("a.weight_packed", "I32", (24, 48)), UnsupportedModel, "4 or 8 bits"),
        (PACKED, put("a.weight_scale", "F16", (25, 2)), BadFile, r"the shape \[25, 2\]"),
        (PACKED, put("a.weight_scale", "F16", (24, 0 + 5)), BadFile, "for 5 groups"),
        (PACKED, put("a.weight_zero_point", "I32", (2, 2)), BadFile, "'a.weight_zero_point' is"),
        (BYTES, put("a.weight_zero_point", "I32", (24, 2)), BadFile, "'a.weight_zero_point' is"),
        (BYTES, put("a.weight_scale", "U8", (24, 2)), BadFile, "'a.weight_scale' is U8"),
        (BYTES, put("a.weight", "I8", (24, 48)), UnsupportedModel, "in groups of 24"),
        (FP8, drop("a.weight_scale_inv"), BadFile, "F8_E4M3 and has no scales"),
        (FP8, put("a.weight_scale_inv", "F32", (1, 2)), BadFile, r"the shape \[1, 2\]"),
        (FP8, put("a.weight_scale_inv", "I32", (2, 2)), UnsupportedModel, "scales of type I32"),
        (FP8, put("a.weight", "F8_E4M3", (256,)), UnsupportedModel, "has 1 dimensions"),
        (MXFP4, drop("x.experts.gate_up_proj_scales"), BadFile, "gate_up_proj_scales"),
        (MXFP4, put("x.experts.gate_up_proj_scales", "U8", (2, 8, 3)), BadFile, "do not fit"),
        (MXFP4, put("x.experts.gate_up_proj_blocks", "U8", (2, 8, 2, 8)), BadFile, "do not fit"),
        (MXFP4, put("x.experts.gate_up_proj_blocks", "U8", (2, 8, 32)), BadFile, "do not fit"),
    ],
    ids=id_of,
)
def test_tensors_that_do_not_fit_are_refused_by_name(
    tmp_path: Path,
    settings: dict[str, Any],
    change: Change,
    kind: type[WaznError],
    message: str,
) -> None:
    tensors = valid(settings)
    change(tensors)
    with pytest.raises(kind, match=message) as caught:
        opened(tmp_path, tensors, settings)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("scale", [3e38, math.inf, math.nan])
def test_products_that_are_not_finite_are_refused_by_name(tmp_path: Path, scale: float) -> None:
    tensors = valid(FP8)
    tensors["a.weight_scale_inv"] = "F32", np.full((2, 2), scale, "<f4")
    container = opened(tmp_path, tensors, FP8)
    with pytest.raises(WaznError, match=r"'a.weight'.* (is NaN or infinite|beyond 65504)"):
        packed_values(container, "a.weight")


SHAPES = st.lists(st.sampled_from([1, 2, 3, 8, 16, 24, 32, 128, 256]), min_size=0, max_size=4)


@pytest.mark.parametrize("settings", [GPTQ, AWQ, PACKED, BYTES, FP8, MXFP4], ids=id_of)
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_one_tensor_is_replaced_by_it_is_read_or_refused(
    tmp_path: Path, settings: dict[str, Any], data: st.DataObject
) -> None:
    tensors = valid(settings)
    name = data.draw(st.sampled_from(sorted(tensors)))
    shape = data.draw(SHAPES.filter(lambda sizes: math.prod(sizes) <= 1 << 16))
    dtype = data.draw(st.sampled_from(sorted(set(BITS) - {"F4", "F6_E2M3", "F6_E3M2"})))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    raw = rng.integers(0, 256, math.prod(shape) * BITS[dtype] // 8).astype(np.uint8)
    array = raw.view({8: "u1", 16: "<u2", 32: "<u4", 64: "<u8"}[BITS[dtype]]).reshape(shape)
    tensors[name] = dtype, array
    try:
        container = opened(tmp_path, tensors, settings)
        for matrix, info in container.tensors.items():
            check_scales(container.read(matrix), info.format, matrix)
    except WaznError as error:
        assert str(error).isprintable()


def test_stacks_of_gate_and_up_need_an_even_number_of_rows(tmp_path: Path) -> None:
    tensors = experts()
    put("x.experts.gate_up_proj_blocks", "U8", (2, 7, 2, 16))(tensors)
    put("x.experts.gate_up_proj_scales", "U8", (2, 7, 2))(tensors)
    with pytest.raises(BadFile, match="do not fit"):
        opened(tmp_path, tensors, MXFP4)


@pytest.mark.parametrize("scale_shape", [(17, 2), (16, 3), (16,)])
def test_4_bit_matrices_need_a_scale_for_each_32_columns(
    tmp_path: Path, scale_shape: tuple[int, ...]
) -> None:
    tensors: Tensors = {
        "a.weight": ("U8", np.zeros((16, 32), np.uint8)),
        "a.scale": ("F8_E8M0", np.zeros(scale_shape, np.uint8)),
    }
    with pytest.raises(BadFile, match=r"'a\.weight' U8 \[16, 32\]"):
        opened(tmp_path, tensors, FP8)


def test_a_zero_point_beyond_the_codes_is_refused(tmp_path: Path) -> None:
    tensors = writers.gptq(np.random.default_rng(0), Coding(bits=8)).named("a")
    words = tensors["a.qzeros"][1].copy()
    words.view("u1")[0, 0] = 255  # less one: a zero of 256
    tensors["a.qzeros"] = "I32", words
    container = opened(tmp_path, tensors, {**GPTQ, "bits": 8})
    with pytest.raises(BadFile, match=r"'a\.weight': a zero point is 128"):
        values_of(container, "a.weight")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "quant_method is 'None', not a name"),
        ({"quant_method": ["gptq"]}, "not a name"),
        ({"quant_method": "bitsandbytes"}, "'bitsandbytes' cannot be read, those of fp8"),
        ({"quant_method": "x" * 1000}, "cannot be read"),
        ({"quant_method": "gptq"}, "bits is 'None', and of gptq only 4, 8"),
        ({"quant_method": "gptq", "bits": 3}, "bits is '3'"),
        ({"quant_method": "gptq", "bits": [4]}, r"bits is '\[4\]'"),
        ({**GPTQ, "checkpoint_format": "marlin"}, "checkpoint_format is 'marlin'"),
        ({**GPTQ, "pack_dtype": "int16"}, "pack_dtype is 'int16'"),
        ({**AWQ, "bits": 8}, "bits is '8', and of awq only 4"),
        ({**AWQ, "version": "gemv"}, "version is 'gemv', and of awq only 'gemm'"),
        ({**AWQ, "zero_point": False}, "zero_point is 'False'"),
        ({**PACKED, "format": "nvfp4-pack-quantized"}, "'nvfp4-pack-quantized' cannot be read"),
        (
            {**PACKED, "config_groups": {"g": {"format": "mxfp4-pack-quantized"}}},
            "'mxfp4-pack-quantized' cannot be read",
        ),
        ({**PACKED, "sparsity_config": {"format": "sparse-24-bitmask"}}, "'sparse-24-bitmask'"),
        ({**PACKED, "transform_config": {"u": 1}}, "transform_config"),
        ({**FP8, "weight_block_size": [128]}, "weight_block_size is"),
        ({**FP8, "weight_block_size": [0, 128]}, "weight_block_size is"),
        ({**FP8, "weight_block_size": "128"}, "weight_block_size is"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused_by_name(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(WaznError, match=message) as caught:
        opened(tmp_path, {"a": ("F32", np.zeros(3, "<f4"))}, settings)
    assert "config.json" in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_section_that_is_no_object_is_refused(tmp_path: Path) -> None:
    from wazn.weights.loss import Loss
    from wazn.weights.quantised.find import make_weights
    from wazn.weights.safetensors import Safetensors

    path = writers.write(tmp_path / "m.safetensors", {"a": ("F32", np.zeros(3, "<f4"))})
    with pytest.raises(BadFile, match="quantization_config is '7', not an object"):
        make_weights(Safetensors(path), {"quantization_config": 7}, "config.json", Loss())


def test_tensors_that_belong_to_no_quantised_matrix_stay_as_they_are(tmp_path: Path) -> None:
    tensors = valid(GPTQ) | {"norm.weight": ("F32", np.ones(3, "<f4"))}
    tensors |= {"steps": ("I64", np.zeros(4, "<i8")), "flags": ("BOOL", np.zeros(4, np.uint8))}
    container = opened(tmp_path, tensors, GPTQ)
    assert set(container.tensors) == {"a.weight", "norm.weight", "steps"}
    assert container.read("norm.weight").tobytes() == np.ones(3, "<f4").tobytes()
    with pytest.raises(ValueError, match="rows 1:99"):
        container.read("a.weight", 1, 99)
