"""8- and 4-bit floats: every weight is worth what the format's formula says."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.weights.quantised import writers
from tests.weights.quantised.reading import assert_same_bits, opened, packed_values, values_of
from tests.weights.quantised.writers import Typed
from wazn.errors import BadFile, UnsupportedModel
from wazn.weights.formats import Format
from wazn.weights.loss import Loss
from wazn.weights.quantised.float8 import e4m3_values
from wazn.weights.scales import check_scales

FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}
Bytes = NDArray[np.uint8]
MXFP4 = {"quant_method": "mxfp4"}


def powers(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Typed, writers.Floats]:
    """Scales of F8_E8M0, and as float32."""
    exponents = rng.integers(110, 130, shape).astype(np.uint8)
    floats = np.array([2.0 ** (int(e) - 127) for e in exponents.flat], np.float32)
    return ("F8_E8M0", exponents), floats.reshape(shape)


def test_the_values_of_e4m3_are_those_of_its_definition() -> None:
    expected = np.array([writers.e4m3(code) for code in range(256)], np.float32)
    np.testing.assert_array_equal(e4m3_values(), expected)
    assert np.signbit(e4m3_values()[128])


@pytest.mark.parametrize("scale_name", ["weight_scale_inv", "scale"])
@pytest.mark.parametrize(
    ("shape", "block"), [((200, 320), (128, 128)), ((64, 96), (32, 32)), ((5, 130), (128, 128))]
)
def test_powers_of_two_keep_every_value_in_bfloat16(
    tmp_path: Path, scale_name: str, shape: tuple[int, int], block: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    codes = writers.float8_codes(rng, shape)
    stored, scales = powers(rng, (-(-shape[0] // block[0]), -(-shape[1] // block[1])))
    loss = Loss()
    tensors = {"a.weight": ("F8_E4M3", codes), f"a.{scale_name}": stored}
    settings = {**FP8, "weight_block_size": list(block)}
    container = opened(tmp_path, tensors, settings, loss=loss)
    expected = writers.float8_values(codes, scales, block)
    assert list(container.tensors) == ["a.weight"]
    assert container.tensors["a.weight"].format is Format.BF16
    assert_same_bits(values_of(container, "a.weight"), expected)
    assert_same_bits(packed_values(container, "a.weight"), expected)
    assert loss.relative_errors() == {"BF16": 0.0}


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_other_scales_are_rounded_to_float16_and_the_loss_is_measured(
    tmp_path: Path, dtype: str
) -> None:
    rng = np.random.default_rng(1)
    codes = writers.float8_codes(rng, (130, 256))
    stored, scales = writers.drawn_scales(rng, (2, 2), dtype)
    loss = Loss()
    tensors = {"a.weight": ("F8_E4M3", codes), "a.weight_scale_inv": stored}
    container = opened(tmp_path, tensors, FP8, loss=loss)
    exact = writers.float8_values(codes, scales, (128, 128))
    expected = exact.astype(np.float16).astype(np.float32)
    assert container.tensors["a.weight"].format is Format.F16
    assert_same_bits(packed_values(container, "a.weight"), expected)
    error = np.linalg.norm((expected - exact).astype(np.float64)) / np.linalg.norm(exact)
    assert 0 < loss.relative_errors()["F16"] == pytest.approx(error, rel=1e-4)
    assert error < 2**-12
    anew = opened(tmp_path, tensors, FP8, as_floats=True)
    assert anew.tensors["a.weight"].format is Format.F32
    assert_same_bits(values_of(anew, "a.weight"), exact)


def test_float32_scales_that_are_said_to_be_powers_of_two_keep_every_value(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    codes = writers.float8_codes(rng, (128, 128))
    tensors: dict[str, Typed] = {
        "a.weight": ("F8_E4M3", codes),
        "a.weight_scale_inv": ("F32", np.array([[2.0**-20]], "<f4")),
    }
    container = opened(tmp_path, tensors, {**FP8, "scale_fmt": "ue8m0"})
    expected = writers.float8_values(codes, np.array([[2.0**-20]], np.float32), (128, 128))
    assert container.tensors["a.weight"].format is Format.BF16
    assert_same_bits(values_of(container, "a.weight"), expected)


@pytest.mark.parametrize(("grid", "block"), [((20,), (1, 64)), ((20, 1), (1, 64)), ((), (20, 64))])
def test_scales_of_rows_or_of_the_matrix_are_spread(
    tmp_path: Path, grid: tuple[int, ...], block: tuple[int, int]
) -> None:
    rng = np.random.default_rng(3)
    codes = writers.float8_codes(rng, (20, 64))
    stored, scales = powers(rng, grid)
    settings = {"quant_method": "compressed-tensors", "format": "float-quantized"}
    tensors = {"a.weight": ("F8_E4M3", codes), "a.weight_scale": stored}
    container = opened(tmp_path, tensors, settings)
    expected = writers.float8_values(codes, scales.reshape(-1, 1), block)
    assert_same_bits(values_of(container, "a.weight"), expected)


def test_the_blocks_of_compressed_tensors_are_those_of_its_configuration(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    codes = writers.float8_codes(rng, (48, 96))
    stored, scales = powers(rng, (2, 3))
    group = {"weights": {"strategy": "block", "block_structure": [24, 32]}}
    settings = {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "config_groups": {"group_0": group},
    }
    tensors = {"a.weight": ("F8_E4M3", codes), "a.weight_scale": stored}
    container = opened(tmp_path, tensors, settings)
    assert_same_bits(
        values_of(container, "a.weight"), writers.float8_values(codes, scales, (24, 32))
    )


def test_a_stack_of_8_bit_floats_has_blocks_of_its_own_in_each_matrix(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    codes = writers.float8_codes(rng, (3, 40, 64))
    stored, scales = powers(rng, (3, 2, 2))
    tensors = {"a.weight": ("F8_E4M3", codes), "a.weight_scale_inv": stored}
    container = opened(tmp_path, tensors, {**FP8, "weight_block_size": [32, 32]})
    expected = [writers.float8_values(c, s, (32, 32)) for c, s in zip(codes, scales, strict=True)]
    assert container.tensors["a.weight"].shape == (3, 40, 64)
    assert_same_bits(values_of(container, "a.weight"), np.concatenate(expected))


def test_a_block_larger_than_the_matrix_takes_no_more_memory(tmp_path: Path) -> None:
    tensors: dict[str, Typed] = {
        "a.weight": ("F8_E4M3", np.full((64, 32), 0x38, np.uint8)),
        "a.weight_scale_inv": ("F32", np.full((64, 1), 0.5, "<f4")),
    }
    container = opened(tmp_path, tensors, {**FP8, "weight_block_size": [1, 1 << 24]})
    tracemalloc.start()
    values = values_of(container, "a.weight")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(values, np.full((64, 32), 0.5, np.float32))
    assert peak_bytes < 1 << 20


def test_a_nan_among_8_bit_floats_is_named(tmp_path: Path) -> None:
    codes = np.zeros((4, 32), np.uint8)
    codes[2, 7] = 0x7F
    tensors: dict[str, Typed] = {
        "a.weight": ("F8_E4M3", codes),
        "a.scale": ("F8_E8M0", np.full((1, 1), 127, np.uint8)),
    }
    container = opened(tmp_path, tensors, FP8)
    with pytest.raises(BadFile, match=r"'a\.weight' row 2: element 7 is NaN"):
        check_scales(container.read("a.weight"), Format.BF16, "a.weight")


def test_weights_beyond_float16_are_refused_by_name(tmp_path: Path) -> None:
    tensors: dict[str, Typed] = {
        "a.weight": ("F8_E4M3", np.full((4, 32), 0x7E, np.uint8)),
        "a.weight_scale": ("F32", np.full((4, 1), 1000.0, "<f4")),
    }
    container = opened(tmp_path, tensors, FP8)
    with pytest.raises(UnsupportedModel, match=r"'a\.weight' has weights beyond 65504.*q8"):
        container.read("a.weight")


EXPERTS = "model.layers.0.mlp.experts"


def random_blocks(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Bytes, Bytes]:
    """Bytes (…, groups, 16) and scales (…, groups), the smallest and largest among them."""
    blocks = rng.integers(0, 256, (*shape, 16)).astype(np.uint8)
    scales = rng.integers(100, 140, shape).astype(np.uint8)
    scales.reshape(-1)[:4] = [0, 1, 2, 254 - 3]
    return blocks, scales


def test_experts_of_4_bit_floats_keep_every_value_and_come_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    gate_up, gate_up_scales = random_blocks(rng, (3, 12, 2))
    down, down_scales = random_blocks(rng, (3, 10, 1))
    tensors: dict[str, Typed] = {
        f"{EXPERTS}.gate_up_proj_blocks": ("U8", gate_up),
        f"{EXPERTS}.gate_up_proj_scales": ("U8", gate_up_scales),
        f"{EXPERTS}.down_proj_blocks": ("U8", down),
        f"{EXPERTS}.down_proj_scales": ("U8", down_scales),
    }
    container = opened(tmp_path, tensors, MXFP4)
    both = writers.mxfp4_values(gate_up, gate_up_scales)  # (experts, rows, columns)
    expected = {
        "gate_proj": both[:, 0::2],
        "up_proj": both[:, 1::2],
        "down_proj": writers.mxfp4_values(down, down_scales),
    }
    assert set(container.tensors) == {f"{EXPERTS}.{name}.weight" for name in expected}
    for name, values in expected.items():
        info = container.tensors[f"{EXPERTS}.{name}.weight"]
        assert (info.shape, info.format) == (values.shape, Format.MXFP4)
        assert_same_bits(values_of(container, info.name), values.reshape(-1, values.shape[-1]))


@pytest.mark.parametrize("dtype", ["I8", "U8", "F4"])
def test_matrices_of_4_bit_floats_keep_every_value(tmp_path: Path, dtype: str) -> None:
    rng = np.random.default_rng(6)
    blocks, scales = random_blocks(rng, (17, 3))
    name = "layers.3.ffn.experts.1.w1"
    tensors: dict[str, Typed] = {
        f"{name}.weight": (dtype, blocks.reshape(17, -1)),
        f"{name}.scale": ("F8_E8M0", scales),
    }
    container = opened(tmp_path, tensors, FP8)
    expected = writers.mxfp4_values(blocks, scales)
    assert list(container.tensors) == [f"{name}.weight"]
    assert_same_bits(values_of(container, f"{name}.weight"), expected)
    assert_same_bits(packed_values(container, f"{name}.weight"), expected)


def test_a_scale_of_4_bit_floats_that_is_nan_is_named(tmp_path: Path) -> None:
    tensors: dict[str, Typed] = {
        "a.weight": ("U8", np.zeros((4, 16), np.uint8)),
        "a.scale": ("F8_E8M0", np.array([[127], [127], [255], [127]], np.uint8)),
    }
    container = opened(tmp_path, tensors, FP8)
    with pytest.raises(BadFile, match=r"'a\.weight' row 2: scale 'exponent' of block 0 is NaN"):
        packed_values(container, "a.weight")
