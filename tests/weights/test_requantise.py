"""Floats rounded to 8 and 4 bits: close to what is possible, and the loss is what is said."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.weights.quantised import writers
from wazn.errors import BadFile
from wazn.weights.formats import Format, dequantize
from wazn.weights.loss import Loss
from wazn.weights.packed import Packing, pack_in_memory
from wazn.weights.requantise import Requantised, quantise, target_format
from wazn.weights.safetensors import Safetensors

FORMATS = (Format.Q8_0, Format.Q4_1, Format.Q4_K)
every_format = pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)


def weights(seed: int, rows: int = 32, columns: int = 512) -> writers.Floats:
    """Like trained weights: a heavy tail, rows of different size."""
    rng = np.random.default_rng(seed)
    sizes = rng.uniform(0.001, 0.1, (rows, 1))
    return (rng.standard_t(5, (rows, columns)) * sizes).astype(np.float32)


def relative(kept: writers.Floats, exact: writers.Floats) -> float:
    return float(np.linalg.norm((kept - exact).astype(np.float64)) / np.linalg.norm(exact))


@every_format
def test_blocks_dequantise_alike_in_the_gguf_package(format: Format) -> None:
    raw = quantise(weights(0), format)
    expected = gguf.quants.dequantize(raw, GGMLQuantizationType[format.name])
    np.testing.assert_array_equal(dequantize(raw, format), expected)


def test_8_bits_are_within_half_a_step() -> None:
    exact = weights(1)
    kept = dequantize(quantise(exact, Format.Q8_0), Format.Q8_0)
    steps = np.abs(exact.reshape(32, -1, 32)).max(axis=2) / 127
    errors = np.abs(kept - exact).reshape(32, -1, 32).max(axis=2)
    assert (errors <= 0.5 * steps * 1.07).all()  # of a scale that is itself rounded
    assert relative(kept, exact) < 0.008


@pytest.mark.parametrize("format", [Format.Q4_1, Format.Q4_K], ids=lambda format: format.name)
def test_4_bits_lose_less_than_rounding_to_the_range_of_each_32_weights(format: Format) -> None:
    exact = weights(2)
    kept = dequantize(quantise(exact, format), format)
    groups = exact.reshape(32, -1, 32)
    lows = groups.min(axis=2, keepdims=True)
    steps = (groups.max(axis=2, keepdims=True) - lows) / 15
    plain = (lows + steps * np.rint((groups - lows) / steps)).reshape(exact.shape)
    assert relative(kept, exact) < 0.97 * relative(plain, exact)
    assert relative(kept, exact) < 0.09


@every_format
@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(
        st.floats(-1000, 1000, width=32) | st.sampled_from([0.0, 1.0, -1.0]),
        min_size=256,
        max_size=256,
    )
)
def test_any_finite_weights_stay_finite_and_near(format: Format, values: list[float]) -> None:
    exact = np.array([values], np.float32)
    kept = dequantize(quantise(exact, format), format)
    assert np.isfinite(kept).all()
    reach = np.abs(exact).max()
    assert np.abs(kept - exact).max() <= (0.01 if format is Format.Q8_0 else 0.2) * reach + 1e-7


@every_format
def test_constant_rows_and_zeros_are_kept(format: Format) -> None:
    exact = np.zeros((3, 256), np.float32)
    exact[1], exact[2] = 0.25, -0.25
    kept = dequantize(quantise(exact, format), format)
    np.testing.assert_array_equal(kept[0], 0)
    np.testing.assert_allclose(kept, exact, rtol=0.01)


def test_the_format_depends_on_the_wish_and_on_the_columns() -> None:
    assert target_format("native", 256) is None
    assert target_format("q8", 96) is Format.Q8_0
    assert target_format("q4", 256) is Format.Q4_K
    assert target_format("q4", 96) is Format.Q4_1
    assert target_format("q4", 100) is None


def test_a_container_shows_and_packs_matrices_as_integers_and_counts_the_loss(
    tmp_path: Path,
) -> None:
    exact = weights(3, rows=40, columns=256)
    path = writers.write(tmp_path / "m.safetensors", {"a": ("F32", exact), "b": ("F32", exact)})
    loss = Loss()
    container = Requantised(Safetensors(path), {"a": Format.Q4_K}, loss)
    assert container.tensors["a"].format is Format.Q4_K
    assert container.tensors["a"].nbytes == 40 * 144
    assert container.tensors["b"].format is Format.F32
    packing = Packing(container, {"a": "a", "b": "b"}, loss)
    packed = pack_in_memory(packing, 2, lambda num_bytes: None)
    expected = dequantize(quantise(exact, Format.Q4_K), Format.Q4_K)
    rows = np.stack([packed.matrix("a").row(row) for row in range(40)])
    np.testing.assert_array_equal(rows, expected)
    found = packed.loss.relative_errors()
    assert found == {"Q4_K": pytest.approx(relative(expected, exact), rel=1e-4)}
    container.close()


def test_a_weight_that_is_not_finite_is_named_before_it_is_rounded(tmp_path: Path) -> None:
    exact = weights(4, rows=20, columns=64)
    exact[17, 5] = np.inf
    path = writers.write(tmp_path / "m.safetensors", {"a": ("F32", exact)})
    container = Requantised(Safetensors(path), {"a": Format.Q8_0}, Loss())
    with pytest.raises(BadFile, match=r"'a' row 17: element 5 is NaN or infinite"):
        container.read("a", 16, 20)
