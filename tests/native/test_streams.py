"""Compressed rows, windows with sinks and streams against their NumPy twins, bit for bit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import programs
from tests.native.programs import Floats
from tests.native.test_latent import assert_same_bits, chunk_lists, seeds
from wazn import native
from wazn.models import layer_reference as twin
from wazn.models import reference
from wazn.models.streams import HyperConfig

ROTATED = 4


def angles(rng: np.random.Generator, positions: int) -> Floats:
    turns: Floats = rng.normal(0, 1, (positions, ROTATED // 2, 2)).astype(np.float32)
    return turns


def stream_with_angles(
    program: native.Program, buffers: list[int], values: list[Floats], out: int, chunks: list[int]
) -> Floats:
    """``programs.stream`` for a program whose angles are set, and whose segment has ended."""
    results, start = [], 0
    for chunk in chunks:
        programs.fill(program, buffers, [rows[start : start + chunk] for rows in values])
        programs.run_again(program, chunk, start)
        results.append(program.floats(out).reshape(64, -1)[:chunk].copy())
        start += chunk
    return np.concatenate(results)


@pytest.mark.parametrize("overlaps", [False, True])
@pytest.mark.parametrize("is_selected", [False, True])
@given(seed=seeds, chunks=chunk_lists, rate=st.sampled_from([1, 3, 4, 70]))
@settings(max_examples=4, deadline=None)
def test_windows_and_compressed_rows_equal_their_twins_however_the_rows_arrive(
    overlaps: bool, is_selected: bool, seed: int, chunks: list[int], rate: int
) -> None:
    rng = np.random.default_rng(seed)
    arrivals, heads, size, index_heads, window, top_k = [60, 20, *chunks], 3, 16, 4, 9, 5
    length, columns = sum(arrivals), size * (2 if overlaps else 1)
    shapes = [heads * size, size, columns, columns, index_heads * size, index_heads]
    values = [rng.normal(0, 1, (length, width)).astype(np.float32) for width in shapes]
    how = twin.Compression(
        rate=rate,
        overlaps=overlaps,
        biases=rng.normal(0, 1, (rate, columns)).astype(np.float32),
        weight=rng.normal(1, 0.2, size).astype(np.float32),
        eps=1e-6,
        angles=angles(rng, 1024),
    )
    sinks = rng.normal(0, 1, heads).astype(np.float32)
    program = programs.new_program(threads=2, kv="float32")
    buffers = [program.buffer(width, "none") for width in shapes]
    query, vector, raw, gates, asked, weights = buffers
    out = program.buffer(heads * size, "none")
    entries = program.latent_store(size, 0, rate)
    biases = how.biases.reshape(-1)
    program.compress(raw, gates, entries, rate, overlaps, biases, how.weight, how.eps, ROTATED, 1)
    options: dict[str, Any] = {"window": window, "entries": entries, "sinks": sinks}
    if is_selected:
        program.select(asked, weights, entries, top_k, 0.5)
    store = program.latent_store(size, 0)
    program.append_latent(vector, native.NO_BUFFER, store)
    options["is_selected"] = is_selected
    program.attend_latent(query, native.NO_BUFFER, out, store, heads, 0.25, options)
    program.open_cache(64)
    program.end_segment("all")
    program.set_angles(how.angles, 1)
    found = stream_with_angles(program, buffers, values, out, arrivals)
    compressed = twin.compress(values[2], values[3], how)
    for row in {length - 1, *rng.choice(length, 2).tolist()}:
        seen = compressed[: (row + 1) // rate]
        if is_selected and len(seen) > top_k:
            queries = values[4][row].reshape(index_heads, size)
            scores = twin.index_scores(queries, values[5][row], seen, 0.5)
            seen = seen[twin.select(scores, top_k)]
        rows = np.concatenate([values[1][max(row + 1 - window, 0) : row + 1], seen])
        asking = values[0][row].reshape(heads, size)
        expected = twin.attend_rows(asking, rows, size, 0.25, sinks)
        assert_same_bits(found[row], expected.reshape(-1))


@given(seed=seeds, streams=st.integers(1, 5), rows=st.integers(1, 5), columns=st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_a_sublayer_among_streams_equals_its_twins(
    seed: int, streams: int, rows: int, columns: int
) -> None:
    rng = np.random.default_rng(seed)
    config = HyperConfig(streams, 20, 1e-6)
    count = (2 + streams) * streams
    x = rng.normal(0, 1, (rows, columns)).astype(np.float32)
    logits = rng.normal(0, 2, (rows, count)).astype(np.float32)
    scales, biases = (rng.normal(0, 1, n).astype(np.float32) for n in (3, count))
    program = programs.new_program(threads=2)
    source, weights = program.buffer(columns, "none"), program.buffer(count, "none")
    many, one = program.buffer(streams * columns, "none"), program.buffer(columns, "none")
    program.repeat(source, many)
    program.hyper_weights(weights, streams, config.iterations, scales, biases, config.eps)
    program.expand(many, weights, source)
    program.collapse(many, weights, one)
    program.open_cache(64)
    programs.fill(program, [source, weights], [x, logits])
    programs.run(program, rows)
    expected_weights = twin.hyper_weights(logits, scales, biases, config)
    assert_same_bits(program.floats(weights)[:rows].copy(), expected_weights)
    mix = expected_weights[:, 2 * streams :].reshape(rows, streams, streams)
    np.testing.assert_allclose(mix.sum(axis=1), 1, atol=1e-4)  # doubly stochastic, nearly
    mixed = twin.expand(np.repeat(x[:, None], streams, axis=1), expected_weights, x)
    assert_same_bits(program.floats(many)[:rows].reshape(mixed.shape).copy(), mixed)
    expected = twin.collapse(mixed, expected_weights)
    assert_same_bits(program.floats(one)[:rows].copy(), expected)


def test_the_end_of_the_streams_has_one_weight_for_each() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1, (2, 3)).astype(np.float32)
    scales, biases = np.array([0.5], np.float32), np.array([0.1, 0.2, 0.3], np.float32)
    program = programs.new_program()
    weights = program.buffer(3, "none")
    program.hyper_weights(weights, 3, 20, scales, biases, 1e-6)
    program.open_cache(64)
    programs.fill(program, [weights], [logits])
    programs.run(program, 2)
    expected = reference.sigmoid(logits * scales + biases) + np.float32(1e-6)
    assert_same_bits(program.floats(weights)[:2].copy(), expected)


def test_a_limit_holds_the_gate_from_above_and_what_it_gates_on_both_sides() -> None:
    rng = np.random.default_rng(2)
    gate, up = rng.normal(0, 4, (2, 3, 20)).astype(np.float32)
    program = programs.new_program()
    buffers = [program.buffer(20, "none") for _ in range(3)]
    program.gated_product(buffers[0], buffers[1], buffers[2], "silu", 1.5)
    program.open_cache(64)
    programs.fill(program, buffers[:2], [gate, up])
    programs.run(program, 3)
    expected = reference.swiglu(np.minimum(gate, np.float32(1.5)), np.clip(up, -1.5, 1.5))
    assert_same_bits(program.floats(buffers[2])[:3].copy(), expected.astype(np.float32))


def test_a_table_names_the_experts_of_a_token_and_must_know_it() -> None:
    program = programs.new_program(exact=True)
    weight = programs.packed(np.eye(4, dtype=np.float32).view(np.uint8), programs.F32, 4)
    source, scores = program.buffer(4, "none"), program.buffer(4, "none")
    table = np.array([3, 1, 0, 2], np.int32)  # of two tokens
    embedding = programs.packed(np.eye(5, 4, dtype=np.float32).view(np.uint8), programs.F32, 4)
    program.embed(embedding, source)
    program.route(source, weight, scores, 2, programs.choice(table=table))
    program.open_cache(64)
    programs.run(program, 1)
    with pytest.raises(ValueError, match="names an expert that does not exist"):
        program.route(source, weight, scores, 2, programs.choice(table=table + 1))
    with pytest.raises(ValueError, match="token id 2 is outside"):
        program.run(
            *(0, 1, np.array([2], np.int32), np.array([0, 1], np.int32), np.zeros(1, np.int32)),
            *(np.zeros((1, 1), np.int32), np.empty(0, np.int32), np.empty((0, 1), np.float32)),
        )


def test_what_does_not_fit_compression_or_streams_is_refused() -> None:
    program = programs.new_program()
    wide, narrow, odd = (program.buffer(columns, "none") for columns in (32, 16, 5))
    store, ones = program.latent_store(16, 0, 4), np.ones(64, np.float32)
    with pytest.raises(ValueError, match="biases or weights of compressed rows"):
        program.compress(narrow, narrow, store, 4, False, ones[:3], ones[:16], 1e-6, 4, 0)
    with pytest.raises(ValueError, match="no such rotation"):
        program.compress(narrow, narrow, store, 4, False, ones, ones[:16], 1e-6, 18, 0)
    with pytest.raises(ValueError, match="no such store"):
        program.compress(narrow, narrow, 7, 4, False, ones, ones[:16], 1e-6, 4, 0)
    with pytest.raises(ValueError, match="streams are as wide"):
        program.repeat(narrow, odd)
    with pytest.raises(ValueError, match="every stream has its weights"):
        program.collapse(wide, program.buffer(1, "none"), narrow)
    with pytest.raises(ValueError, match="do not fit the streams"):
        program.hyper_weights(odd, 2, 20, ones[:3], ones[:5], 1e-6)
