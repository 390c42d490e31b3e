"""Latent attention, its index and products per head against their NumPy twins, bit for bit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import programs
from tests.native.programs import Floats
from wazn import native
from wazn.models import layer_reference as twin
from wazn.models import reference
from wazn.weights.formats import Format, dequantize

seeds = st.integers(0, 2**32 - 1)
chunk_lists = st.lists(st.integers(1, 60) | st.just(1), min_size=1, max_size=6)
PLAIN: dict[str, Any] = {"is_selected": False, "window": 0, "entries": None, "sinks": None}


def assert_same_bits(found: Floats, expected: Floats) -> None:
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def some_rows(rng: np.random.Generator, length: int) -> list[int]:
    return [*rng.choice(length, min(length, 2), replace=False).tolist(), length - 1]


@pytest.mark.parametrize("kv", ["float32", "float16", "int8"])
@given(
    seed=seeds,
    chunks=chunk_lists,
    before=st.sampled_from([0, 60, 540, 1080]),
    heads=st.sampled_from([1, 5, 70]),
    rotary=st.sampled_from([2, 8, 16]),
)
@settings(max_examples=4, deadline=None)
def test_latent_attention_equals_its_twin_however_the_rows_arrive(
    kv: str, seed: int, chunks: list[int], before: int, heads: int, rotary: int
) -> None:
    rng = np.random.default_rng(seed)
    arrivals, latent = [60] * (before // 60) + chunks, 32
    length = sum(arrivals)
    shapes = (heads * latent, heads * rotary, latent, rotary)
    values = [rng.normal(0, 1.5, (length, columns)).astype(np.float32) for columns in shapes]
    program = programs.new_program(threads=2, kv=kv)
    buffers = [program.buffer(columns, "none") for columns in shapes]
    out = program.buffer(heads * latent, "none")
    store = program.latent_store(latent, rotary)
    program.append_latent(buffers[2], buffers[3], store)
    program.attend_latent(buffers[0], buffers[1], out, store, heads, 0.25, PLAIN)
    program.open_cache(64)
    found = programs.stream(program, buffers, values, out, arrivals)
    cached = twin.round_rows(np.concatenate(values[2:], axis=1), kv)
    queries = [x.reshape(length, heads, -1) for x in values[:2]]
    for row in some_rows(rng, length):
        query = np.concatenate([q[row] for q in queries], axis=1)
        expected = twin.attend_rows(query, cached[: row + 1], latent, 0.25)
        assert_same_bits(found[row], expected.reshape(-1))


@given(seed=seeds, chunks=chunk_lists, top_k=st.sampled_from([1, 7, 64]))
@settings(max_examples=5, deadline=None)
def test_selected_attention_equals_its_twin_however_the_rows_arrive(
    seed: int, chunks: list[int], top_k: int
) -> None:
    rng = np.random.default_rng(seed)
    arrivals, heads, latent, rotary, dim, index_heads = [60, *chunks], 3, 16, 4, 16, 5
    length = sum(arrivals)
    shapes = (heads * latent, heads * rotary, latent, rotary, index_heads * dim, dim, index_heads)
    # Whole numbers, so that scores tie.
    values = [rng.integers(-2, 3, (length, columns)).astype(np.float32) for columns in shapes]
    program = programs.new_program(threads=2, kv="float16")
    buffers = [program.buffer(columns, "none") for columns in shapes]
    out = program.buffer(heads * latent, "none")
    store, index = program.latent_store(latent, rotary), program.latent_store(dim, 0)
    program.append_latent(buffers[5], native.NO_BUFFER, index)
    program.select(buffers[4], buffers[6], index, top_k, 0.5)
    program.append_latent(buffers[2], buffers[3], store)
    options = PLAIN | {"is_selected": True}
    program.attend_latent(buffers[0], buffers[1], out, store, heads, 0.25, options)
    program.open_cache(64)
    found = programs.stream(program, buffers, values, out, arrivals)
    cached = np.concatenate(values[2:4], axis=1)
    for row in some_rows(rng, length):
        scores = twin.index_scores(
            values[4][row].reshape(index_heads, dim), values[6][row], values[5][: row + 1], 0.5
        )
        chosen = twin.select(scores, top_k)
        query = np.concatenate([x[row].reshape(heads, -1) for x in values[:2]], axis=1)
        expected = twin.attend_rows(query, cached[chosen], latent, 0.25)
        assert_same_bits(found[row], expected.reshape(-1))


def test_a_score_that_is_no_number_is_chosen_last() -> None:
    program = programs.new_program(kv="float32")
    query, key, weights = (program.buffer(columns, "none") for columns in (16, 16, 1))
    latent, rotary, out = (program.buffer(columns, "none") for columns in (16, 2, 16))
    store, index = program.latent_store(16, 2), program.latent_store(16, 0)
    program.append_latent(key, native.NO_BUFFER, index)
    program.select(query, weights, index, 1, 1.0)
    program.append_latent(latent, rotary, store)
    options = PLAIN | {"is_selected": True}
    program.attend_latent(latent, rotary, out, store, 1, 1.0, options)
    program.open_cache(64)
    ones = np.ones((3, 16), np.float32)
    keys = ones * np.array([[np.nan], [1.0], [np.nan]], np.float32)
    marks = ones * np.array([[1.0], [2.0], [3.0]], np.float32)
    values = [ones, keys, ones[:, :1], marks, ones[:, :2]]
    programs.fill(program, [query, key, weights, latent, rotary], values)
    programs.run(program, 3)
    assert program.floats(out)[2, 0] == 2.0


@pytest.mark.parametrize("format", [Format.F32, Format.BF16, Format.Q4_0, Format.Q8_0])
@pytest.mark.parametrize("exact", [False, True])
def test_a_product_per_head_equals_its_twin(format: Format, exact: bool) -> None:
    rng = np.random.default_rng(3)
    heads, rows_out, columns = 3, 40, 32
    raws = [programs.random_raw(format, rows_out, columns, rng) for _ in range(heads)]
    layout = native.LAYOUTS[format.name]
    size = native.packed_bytes(layout, rows_out, columns)
    memory = native.Memory.allocate(heads * size)
    for head, raw in enumerate(raws):
        native.pack(layout, raw, columns, memory.writable()[head * size : (head + 1) * size])
    stack = native.Weight.create(memory, 0, layout, rows_out, columns, heads)
    for threads, rows in ((1, 1), (2, 5), (3, 40)):
        x = rng.normal(0, 1, (rows, heads * columns)).astype(np.float32)
        program = programs.new_program(threads=threads, exact=exact)
        is_float = exact or format in (Format.F32, Format.BF16)
        source = program.buffer(columns, "none" if is_float else "narrow", heads)
        out = program.buffer(heads * rows_out, "none")
        program.quantize(source)
        program.grouped_linear(source, stack, out)
        program.open_cache(64)
        programs.fill(program, [source], [x])
        programs.run(program, rows)
        found = program.floats(out)[:rows].reshape(rows, heads, rows_out)
        for head, raw in enumerate(raws):
            part = np.ascontiguousarray(x.reshape(rows, heads, columns)[:, head])
            expected = (
                reference.linear_float(dequantize(raw, format), part)
                if is_float
                else reference.linear(raw, format, reference.quantize(part))
            )
            assert_same_bits(np.ascontiguousarray(found[:, head]), expected)


@given(seed=seeds, rows=st.integers(1, 5), columns=st.integers(1, 100))
@settings(max_examples=30, deadline=None)
def test_layer_norm_equals_its_twin(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(1, 3, (rows, columns)).astype(np.float32)
    weight, bias = rng.normal(1, 0.5, (2, columns)).astype(np.float32)
    program = programs.new_program()
    buffer = program.buffer(columns, "none")
    program.layer_norm(buffer, weight, bias, 1e-6)
    program.open_cache(64)
    programs.fill(program, [buffer], [x])
    programs.run(program, rows)
    found = program.floats(buffer)[:rows].copy()
    assert_same_bits(found, twin.layer_norm(x, weight, bias, 1e-6))
    centred = x.astype(np.float64) - x.mean(axis=1, keepdims=True, dtype=np.float64)
    deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(found, centred / deviation * weight + bias, rtol=2e-4, atol=2e-4)
