"""Every kernel against its NumPy twin, bit for bit."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import programs
from tests.native.programs import Floats
from wazn import native
from wazn.models import reference
from wazn.weights.formats import Format, dequantize

FLOATS = (Format.F32, Format.F16, Format.BF16)
QUANTISED = tuple(format for format in Format if format not in FLOATS)
seeds = st.integers(0, 2**32 - 1)


def assert_same_bits(actual: Floats, expected: Floats) -> None:
    np.testing.assert_array_equal(actual.view(np.uint32), expected.view(np.uint32))


def activations(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    """Ordinary values, some rows of zeros, some outliers."""
    x = rng.normal(0, 1, (rows, columns)).astype(np.float32)
    x[rng.random(rows) < 0.1] = 0
    x[rng.random(x.shape) < 0.01] *= 1000
    return x


QUANTISERS = {"narrow": reference.quantize, "wide": reference.quantize_wide}


def multiply(
    weight: native.Weight,
    x: Floats,
    *,
    exact: bool = False,
    form: str = "narrow",
    bias: Floats | None = None,
) -> Floats:
    program = programs.new_program(exact=exact)
    source = program.buffer(x.shape[1], "none" if exact else form)
    target = program.buffer(weight.rows, "none")
    program.quantize(source)
    program.linear(source, [(weight, bias, target, False)])
    program.open_cache(64)
    program.floats(source)[: len(x)] = x
    programs.run(program, len(x))
    return program.floats(target)[: len(x)].copy()


@pytest.mark.parametrize("format", Format)
def test_packed_weights_dequantise_to_the_values_of_the_file(format: Format) -> None:
    rng = np.random.default_rng(1)
    columns = 512 if format.block_size > 1 else 37
    raw = programs.random_raw(format, 37, columns, rng)
    weight = programs.packed(raw, format, columns)
    rows = np.stack([weight.row(row) for row in range(weight.rows)])
    assert_same_bits(rows, dequantize(raw, format))


@pytest.mark.parametrize("form", QUANTISERS)
@pytest.mark.parametrize("format", QUANTISED)
@given(seed=seeds, rows=st.integers(1, 19), blocks=st.integers(1, 10), outputs=st.integers(1, 40))
@settings(max_examples=10, deadline=None)
def test_quantised_products_equal_their_twin(
    format: Format, form: str, seed: int, rows: int, blocks: int, outputs: int
) -> None:
    rng = np.random.default_rng(seed)
    columns = blocks * format.block_size
    raw = programs.random_raw(format, outputs, columns, rng)
    x = activations(rng, rows, columns)
    product = multiply(programs.packed(raw, format, columns), x, form=form)
    assert_same_bits(product, reference.linear(raw, format, QUANTISERS[form](x)))


@pytest.mark.parametrize("form", QUANTISERS)
@pytest.mark.parametrize("format", QUANTISED)
@pytest.mark.parametrize("byte", [0x00, 0x7F, 0x80, 0xFF])
def test_the_extremes_of_codes_and_activations_do_not_overflow(
    format: Format, form: str, byte: int
) -> None:
    raw = np.full((16, 1280 // format.block_size * format.block_bytes), byte, np.uint8)
    for name in set(format.layout.names or ()) & {"d", "m", "exponent"}:
        raw.view(format.layout)[name] = 100
    weight = programs.packed(raw, format, 1280)
    for sign in (1.0, -1.0):
        x = np.full((9, 1280), sign, np.float32)
        product = multiply(weight, x, form=form)
        assert_same_bits(product, reference.linear(raw, format, QUANTISERS[form](x)))


@pytest.mark.parametrize("form", QUANTISERS)
def test_activations_of_any_size_are_quantised(form: str) -> None:
    sizes = np.array([[0], [1e-38], [9e-31], [1.1e-30], [1e-20], [1], [1e30], [3e38]], np.float32)
    rng = np.random.default_rng(2)
    x = (sizes * rng.uniform(-1, 1, (8, 320)).astype(np.float32)).astype(np.float32)
    x[5, ::16] = 1e6  # outliers beside ordinary values
    raw = np.zeros((16, 340), np.uint8)
    raw.view(Format.Q8_0.layout)["d"] = 2**-14  # so that no product overflows
    raw.view(Format.Q8_0.layout)["quants"] = rng.integers(-128, 128, (16, 10, 32))
    product = multiply(programs.packed(raw, Format.Q8_0, 320), x, form=form)
    assert_same_bits(product, reference.linear(raw, Format.Q8_0, QUANTISERS[form](x)))


@pytest.mark.parametrize("format", Format)
@given(seed=seeds, rows=st.integers(1, 13), outputs=st.integers(1, 90))
@settings(max_examples=6, deadline=None)
def test_exact_products_equal_their_twin(
    format: Format, seed: int, rows: int, outputs: int
) -> None:
    rng = np.random.default_rng(seed)
    columns = 256 if format.block_size > 1 else 19
    raw = programs.random_raw(format, outputs, columns, rng)
    x = activations(rng, rows, columns)
    product = multiply(programs.packed(raw, format, columns), x, exact=True)
    assert_same_bits(product, reference.linear_float(dequantize(raw, format), x))


@pytest.mark.parametrize("format", FLOATS)
def test_float_panels_give_the_same_product_in_fast_mode(format: Format) -> None:
    rng = np.random.default_rng(3)
    raw = programs.random_raw(format, 150, 48, rng)
    weight = programs.packed(raw, format, 48)
    for rows in (1, 6, 7):
        x = activations(rng, rows, 48)
        expected = reference.linear_float(dequantize(raw, format), x)
        assert_same_bits(multiply(weight, x, form="none"), expected)


def test_a_bias_is_added_after_the_product() -> None:
    rng = np.random.default_rng(4)
    raw = programs.random_raw(Format.Q4_0, 21, 64, rng)
    bias = rng.normal(0, 1, 21).astype(np.float32)
    x = activations(rng, 3, 64)
    product = multiply(programs.packed(raw, Format.Q4_0, 64), x, bias=bias)
    expected = reference.linear(raw, Format.Q4_0, reference.quantize(x)) + bias
    assert_same_bits(product, expected)


@given(seed=seeds, rows=st.integers(1, 5), columns=st.integers(1, 100), heads=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_rms_norm_equals_its_twin(seed: int, rows: int, columns: int, heads: int) -> None:
    rng = np.random.default_rng(seed)
    x = activations(rng, rows, columns * heads)
    weight = rng.normal(1, 0.2, columns).astype(np.float32)
    result = programs.apply(
        x, x.shape[1], lambda program, a, b: program.rms_norm(a, weight, 1e-5, heads, b)
    )
    expected = reference.rms_norm(x.reshape(rows, heads, columns), weight, 1e-5)
    assert_same_bits(result, expected.reshape(rows, -1))


GATES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "silu": reference.swiglu,
    "gelu_tanh": reference.geglu,
    "clamped": lambda gate, up: reference.clamped_glu(gate, up, 7.0),
}


@pytest.mark.parametrize("kind", GATES)
@given(seed=seeds, rows=st.integers(1, 5), columns=st.integers(1, 100))
@settings(max_examples=40, deadline=None)
def test_gated_products_equal_their_twins(kind: str, seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    gate, up = rng.normal(0, 1, (2, rows, columns)).astype(np.float32)
    gate *= rng.choice([0.1, 3, 30], (rows, 1)).astype(np.float32)
    up *= rng.choice([1, 20], (rows, 1)).astype(np.float32)
    program = programs.new_program()
    first, second, out = (program.buffer(columns, "none") for _ in range(3))
    program.gated_product(first, second, out, kind, 7.0 if kind == "clamped" else 0.0)
    program.open_cache(64)
    programs.fill(program, (first, second), (gate, up))
    programs.run(program, rows)
    assert_same_bits(program.floats(out)[:rows].copy(), GATES[kind](gate, up))


@pytest.mark.parametrize("interleaved", [False, True])
def test_rope_equals_its_twin(interleaved: bool) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, (7, 3 * 32)).astype(np.float32)
    angles = rng.normal(0, 1, (64, 16, 2)).astype(np.float32)
    program = programs.new_program(dim=32)
    buffer = program.buffer(96, "none")
    program.rope(buffer, 3, 32, 0, 32, interleaved)
    program.open_cache(64)
    program.floats(buffer)[:7] = x
    program.end_segment("all")
    program.set_angles(angles)
    programs.run_again(program, 7, first_position=11)
    expected = reference.rope(x.reshape(7, 3, 32), angles[11:18, None], interleaved=interleaved)
    assert_same_bits(program.floats(buffer)[:7].copy(), expected.reshape(7, 96))


def test_fma_rounds_once() -> None:
    a = np.array([1 + 2**-12], np.float32)
    c = np.array([-(1 + 2**-11)], np.float32)
    assert reference.fma(a, a, c)[0] == 2**-24  # rounding the product first would give 0
    halfway = np.array([1 + 2**-24], np.float64)
    tiny = np.array([2**-80], np.float32)
    one = np.ones(1, np.float32)
    above = reference.fma(np.array([2**-24], np.float32), one, one + np.float32(2**-23))
    assert above[0] == 1 + 2**-22  # a tie goes to even
    assert reference.fma(tiny, one, halfway.astype(np.float32))[0] == 1


@given(st.floats(-87, 88, width=32))
def test_exp_is_close_to_the_exact_value(x: float) -> None:
    value = float(reference.exp(np.array([x], np.float32))[0])
    assert value == pytest.approx(float(np.exp(np.float64(x))), rel=3e-7)


@given(st.floats(-50, 50, width=32))
def test_tanh_is_close_to_the_exact_value(x: float) -> None:
    value = float(reference.tanh(np.array([x], np.float32))[0])
    assert value == pytest.approx(float(np.tanh(np.float64(x))), rel=3e-7)


@given(st.floats(-30, 30, width=32))
def test_gelu_is_close_to_the_exact_value(x: float) -> None:
    value = float(reference.geglu(np.array([x], np.float32), np.ones(1, np.float32))[0])
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * float(x) ** 3)
    assert value == pytest.approx(x * 0.5 * (1 + np.tanh(inner)), rel=2e-6, abs=1e-7)
