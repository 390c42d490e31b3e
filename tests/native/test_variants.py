"""The kernels of every instruction set against their NumPy twins, bit for bit.

Those this CPU has, and the others emulated (see driver.py): one source, the same cases, the same
bits. It compiles every kernel for every target, which takes minutes, so it is collected only where
REQUIRE_KERNEL_TARGETS is set, as in CI; a tool that is missing there is a failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.native import driver, programs
from tests.native.driver import Driver, case
from tests.native.programs import Floats
from wazn import native
from wazn.models import reference
from wazn.models.attention import PLAIN, AttentionKind
from wazn.models.reference import Cached
from wazn.weights.formats import Format, dequantize

pytestmark = pytest.mark.timeout(900)  # the first test of a target compiles its kernels

EXACT, AS_FLOATS, NARROW, WIDE = 0, 1, 8, 16
KV_FORMATS = ("float32", "float16", "int8")
FORMS = {EXACT: "exact", AS_FLOATS: "floats", NARROW: "narrow", WIDE: "wide"}
ROWS = (*range(1, 14), 16, 17, 24, 25, 131)  # tiles of every size, whole and ragged; blocks of rows
FLOATS = (Format.F32, Format.F16, Format.BF16)
BLOCKS = {  # 32 columns of quantised activations; see kernels.h
    NARROW: np.dtype(
        [
            ("codes", np.int8, 32),
            ("multipliers", np.int16, 2),
            ("code_sums", np.int16, 4),
            ("sum", np.float32),
        ]
    ),
    WIDE: np.dtype([("codes", np.int16, 32), ("sums", np.int32, 2), ("sum", np.float32)]),
}


@pytest.fixture(scope="module", params=driver.TARGETS)
def kernels(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driver]:
    target = driver.TARGETS[request.param]
    if reason := target.missing():
        pytest.fail(reason)
    yield Driver(target, tmp_path_factory.mktemp("driver"))


def floats(answer: bytes) -> Floats:
    return np.frombuffer(answer, np.float32)


def assert_same_bits(actual: Floats, expected: Floats, what: object) -> None:
    expected = np.ascontiguousarray(expected, np.float32).reshape(-1)
    np.testing.assert_array_equal(
        actual.view(np.uint32), expected.view(np.uint32), err_msg=str(what)
    )


def activations(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    """Ordinary values, some rows of zeros, some outliers."""
    x = rng.normal(0, 1, (rows, columns)).astype(np.float32)
    x[rng.random(rows) < 0.1] = 0
    x[rng.random(x.shape) < 0.01] *= 1000
    return x


def linear_twin(raw: programs.Raw, format: Format, x: Floats, form: int) -> Floats:
    if form in (EXACT, AS_FLOATS):
        return reference.linear_float(dequantize(raw, format), x)
    quantise = reference.quantize if form == NARROW else reference.quantize_wide
    return reference.linear(raw, format, quantise(x))


PRODUCTS = [
    pytest.param(format, form, id=f"{format.name} {FORMS[form]}")
    for format in Format
    for form in ((EXACT, AS_FLOATS) if format in FLOATS else (EXACT, NARROW, WIDE))
]


@pytest.mark.parametrize(("format", "form"), PRODUCTS)
def test_products_equal_their_twin(kernels: Driver, format: Format, form: int) -> None:
    rng = np.random.default_rng([format.ggml_type, form])
    cases, expected = [], []
    for rows in ROWS:
        outputs = int(rng.integers(1, 70 if format in FLOATS else 36))
        columns = 19
        if format.block_size > 1:  # whole spans of 256, and over a chunk of 1024, and ragged ones
            columns = format.block_size * int(rng.integers(1, 1280 // format.block_size + 1))
        if form == EXACT:
            columns = min(columns, 256)
        raw = programs.random_raw(format, outputs, columns, rng)
        x = activations(rng, rows, columns)
        bias = rng.normal(0, 1, outputs).astype(np.float32) if rows % 3 == 0 else None
        before = rng.normal(0, 1, (rows, outputs)).astype(np.float32) if rows % 4 == 0 else None
        layout = native.LAYOUTS[format.name]
        cases.append(case("linear", [layout, outputs, columns, rows, form], raw, x, bias, before))
        product = linear_twin(raw, format, x, form)
        product = product if bias is None else product + bias
        expected.append(product if before is None else before + product)
    for rows, answer, product in zip(ROWS, kernels.run(cases), expected, strict=True):
        assert_same_bits(floats(answer), product, f"{rows} rows")


@pytest.mark.parametrize("form", [NARROW, WIDE], ids=["narrow", "wide"])
def test_the_extremes_of_codes_and_activations_do_not_overflow(kernels: Driver, form: int) -> None:
    cases, expected, names = [], [], []
    for format in set(Format) - set(FLOATS):
        for byte, sub_scales in (
            (0x00, 0x80),
            (0x00, 0x7F),
            (0x7F, 0x7F),
            (0x80, 0x80),
            (0xFF, 0x80),
        ):
            raw = np.full((16, 1280 // format.block_size * format.block_bytes), byte, np.uint8)
            if "scales" in (format.layout.names or ()):
                raw.view(format.layout)["scales"] = np.array(sub_scales, np.uint8).view(np.int8)
            for name in set(format.layout.names or ()) & {"d", "m", "exponent"}:
                raw.view(format.layout)[name] = 100
            for rows, sign in ((1, 1.0), (9, -1.0)):
                x = np.full((rows, 1280), sign, np.float32)
                parameters = [native.LAYOUTS[format.name], 16, 1280, rows, form]
                cases.append(case("linear", parameters, raw, x, None, None))
                expected.append(linear_twin(raw, format, x, form))
                names.append(f"{format.name} of bytes {byte:#x}, {rows} rows")
    for name, answer, product in zip(names, kernels.run(cases), expected, strict=True):
        assert_same_bits(floats(answer), product, name)


def test_packed_weights_dequantise_to_the_values_of_the_file(kernels: Driver) -> None:
    rng = np.random.default_rng(1)
    cases, expected = [], []
    for format in Format:
        columns = 512 if format.block_size > 1 else 37
        raw = programs.random_raw(format, 37, columns, rng)
        if format is Format.MXFP4:  # every scale there is
            raw.view(format.layout)["exponent"] = np.arange(raw.size // 17).reshape(37, -1) % 255
        cases.append(case("row", [native.LAYOUTS[format.name], 37, columns], raw))
        expected.append(dequantize(raw, format))
    for format, answer, rows in zip(Format, kernels.run(cases), expected, strict=True):
        assert_same_bits(floats(answer), rows, format.name)


@pytest.mark.parametrize("bits", [8, 16])
def test_quantised_activations_equal_their_twin(kernels: Driver, bits: int) -> None:
    rng = np.random.default_rng(2)
    columns = 320
    sizes = np.array([[0], [1e-38], [9e-31], [1.1e-30], [1e-20], [1], [1e30], [3e38]], np.float32)
    x = (sizes * rng.uniform(-1, 1, (8, columns)).astype(np.float32)).astype(np.float32)
    x[5, ::16] = 1e6  # outliers beside ordinary values
    ties = (np.arange(columns) % 255 - 127 + rng.choice([0, 0.5], columns)).astype(np.float32)
    ties[::16] = 127  # scales so that codes are halfway between integers
    x = np.concatenate([x, ties[None], activations(rng, 20, columns)])
    layout = np.dtype(
        [("blocks", BLOCKS[bits], columns // 32), ("scales", np.float32, -(-columns // 256))]
    )
    # The order of the codes belongs to the instruction set: found with one column set at a time.
    probes = np.eye(columns, dtype=np.float32)
    answers = kernels.run([case("quantize", [columns, bits], r) for r in (*probes, *x)])
    rows = [np.frombuffer(answer, layout)[0] for answer in answers]
    order = np.array([row["blocks"]["codes"].argmax() for row in rows[:columns]])
    assert sorted(order) == list(range(columns))
    expected = (reference.quantize if bits == 8 else reference.quantize_wide)(x)
    for i, row in enumerate(rows[columns:]):
        blocks = row["blocks"]
        integers = blocks["codes"].ravel().astype(np.int64)[order]
        halves = integers.reshape(-1, 2, 16)
        if bits == 8:
            sums = np.concatenate([halves[..., :8].sum(axis=2), halves.sum(axis=2)], axis=1)
            np.testing.assert_array_equal(blocks["code_sums"], sums)
            integers *= blocks["multipliers"].ravel().astype(np.int64).repeat(16)
        else:
            np.testing.assert_array_equal(blocks["sums"], halves.sum(axis=2))
        np.testing.assert_array_equal(integers, expected.integers[i])
        np.testing.assert_array_equal(blocks["sum"], integers.reshape(-1, 32).sum(axis=1))
        assert_same_bits(row["scales"], expected.scales[i], "scales")


def test_an_infinite_activation_has_the_same_codes_everywhere(kernels: Driver) -> None:
    x = np.ones(256, np.float32)
    x[5] = np.inf  # a scale of infinity: the others count as 0, and inf * 0 saturates
    (answer,) = kernels.run([case("quantize", [256, 8], x)])
    blocks = np.frombuffer(answer, BLOCKS[NARROW], 8)
    assert sorted(blocks["codes"].ravel()) == [-127, *[0] * 255]
    assert (blocks["multipliers"] == 1).all()
    np.testing.assert_array_equal(blocks["sum"], [-127, *[0] * 7])


def test_norms_equal_their_twin(kernels: Driver) -> None:
    rng = np.random.default_rng(3)
    cases, expected = [], []
    for columns in (*range(1, 34), 64, 100, 577):
        x = activations(rng, 1, columns)[0]
        weight = rng.normal(1, 0.2, columns).astype(np.float32)
        cases.append(case("rms_norm", [columns], x, weight, np.array([1e-5], np.float32)))
        expected.append(reference.rms_norm(x, weight, 1e-5))
    for answer, normed in zip(kernels.run(cases), expected, strict=True):
        assert_same_bits(floats(answer), normed, f"{normed.size} columns")


def test_swiglu_equals_its_twin(kernels: Driver) -> None:
    rng = np.random.default_rng(4)
    cases, expected = [], []
    for columns in (*range(1, 34), 1000):
        gate = rng.normal(0, 40, columns).astype(np.float32)
        up = rng.normal(0, 1, columns).astype(np.float32)
        cases.append(case("swiglu", [columns], gate, up))
        expected.append(reference.swiglu(gate, up))
    for answer, result in zip(kernels.run(cases), expected, strict=True):
        assert_same_bits(floats(answer), result, f"{result.size} columns")


@pytest.mark.parametrize("interleaved", [False, True])
def test_rope_equals_its_twin(kernels: Driver, interleaved: bool) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, (7, 32)).astype(np.float32)
    angles = rng.normal(0, 1, (16, 2)).astype(np.float32)
    (answer,) = kernels.run([case("rope", [7, 32, interleaved], x, angles)])
    assert_same_bits(floats(answer), reference.rope(x, angles, interleaved=interleaved), "x")


CAPPED = AttentionKind(chunk=50, softcap=2.0, is_tempered=True)
ATTENTIONS = (PLAIN, AttentionKind(window=70), CAPPED)


@pytest.mark.parametrize("kv", KV_FORMATS)
@pytest.mark.parametrize("kind", ATTENTIONS, ids=["plain", "window and sinks", "chunk and cap"])
def test_attention_equals_its_twin(kernels: Driver, kv: str, kind: AttentionKind) -> None:
    rng = np.random.default_rng(6)
    shapes = [(1, 1, 16, 1), (5, 3, 32, 63), (24, 1, 16, 64), (9, 24, 16, 65), (30, 7, 48, 200)]
    cases, kinds = [], []
    for rows, group, dim, positions in [*shapes, (1, 3, 16, 1100), (3, 2, 16, 600)]:
        query = rng.normal(0, 2, (min(rows, positions), group, dim)).astype(np.float32)
        key, value = rng.normal(0, 2, (2, positions, dim)).astype(np.float32)
        value[rng.random(value.shape) < 0.05] *= 1e-6  # small ones are subnormal in float16
        cases.append((query, key, value))
        sinks = rng.normal(0, 2, group).astype(np.float32) if kind.window else None
        kinds.append(replace(kind, sinks=sinks))
    answers = kernels.run([attend_case(*c, kv, k) for c, k in zip(cases, kinds, strict=True)])
    for (query, key, value), how, answer in zip(cases, kinds, answers, strict=True):
        cached = Cached.of(key, value, kv)
        assert answer[query.nbytes :] == pages_of(cached, kv)
        for r, row in enumerate(query):
            seen = cached.part(0, len(key) - len(query) + r + 1)
            result = floats(answer[: query.nbytes]).reshape(query.shape)[r]
            factor = 1 + r % 3 / 4 if how.is_tempered else 1.0
            expected = reference.attend(row, seen, 0.25, how, factor)
            assert_same_bits(result.reshape(-1), expected, f"{len(key)} positions, row {r}")


def attend_case(query: Floats, key: Floats, value: Floats, kv: str, how: AttentionKind) -> bytes:
    reach = how.window or 0, how.chunk or 0
    parameters = [len(query), *query.shape[1:], KV_FORMATS.index(kv), *reach]
    numbers = (np.array([x], np.float32) for x in (0.25, how.softcap or 0.0))
    factors = 1 + np.arange(len(query), dtype=np.float32) % 3 / 4 if how.is_tempered else None
    return case("attend", parameters, query, key, value, *numbers, how.sinks, factors)


def pages_of(cached: Cached, kv: str) -> bytes:
    """The pages as the kernels lay them out: keys by dimension, values by position, scales."""
    stored = {"float32": np.float32, "float16": np.float16, "int8": np.int8}[kv]
    positions, dim = cached.keys.shape
    pages = []
    for start in range(0, positions, 64):
        part = cached.part(start, 64)
        keys, values = np.zeros((dim, 64), stored), np.zeros((64, dim), stored)
        scales = np.zeros((2, 64), np.float32)
        count = len(part.keys)
        keys[:, :count], values[:count] = part.keys.T, part.values
        scales[0, :count], scales[1, :count] = part.key_scales, part.value_scales
        pages += [keys.tobytes(), values.tobytes(), scales.tobytes() if kv == "int8" else b""]
    return b"".join(pages)


@pytest.mark.parametrize("file", ["attend", "machine", "memory", "pack", "pool", "program"])
def test_the_rest_of_the_core_compiles_for_arm(file: str) -> None:
    target = driver.TARGETS["emulated neon_dotprod"]
    if reason := target.missing():
        pytest.fail(reason)
    driver.compile_to_object(target.compiler, driver.NATIVE / f"{file}.cpp", ["-O1"])
