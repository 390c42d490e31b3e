"""Attention over KV pages against its twin, bit for bit, and however rows arrive."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import programs
from tests.native.programs import Floats
from wazn import native
from wazn.models import reference
from wazn.models.attention import PLAIN, AttentionKind
from wazn.models.reference import Cached

seeds = st.integers(0, 2**32 - 1)
KV_HEADS, DIM, SCALE = 2, 16, 0.25
FACTORS = (1 + np.arange(4096) % 7 * np.float32(0.1)).astype(np.float32)
KINDS = {
    "plain": PLAIN,
    "window 1": AttentionKind(window=1),
    "window 64": AttentionKind(window=64),
    "window 100": AttentionKind(window=100),
    "window 700": AttentionKind(window=700),
    "chunk 1": AttentionKind(chunk=1),
    "chunk 48": AttentionKind(chunk=48),
    "chunk 600": AttentionKind(chunk=600),
    "window 130 in chunk 200": AttentionKind(window=130, chunk=200),
    "softcap": AttentionKind(softcap=3.0),
    "softcap in a window": AttentionKind(softcap=0.5, window=90),
    "tempered": AttentionKind(is_tempered=True),
    "tempered softcap in a chunk": AttentionKind(softcap=2.0, chunk=100, is_tempered=True),
}


def assert_same_bits(actual: Floats, expected: Floats) -> None:
    np.testing.assert_array_equal(actual.view(np.uint32), expected.view(np.uint32))


def record(program: native.Program, kind: AttentionKind, group: int) -> list[int]:
    """Buffers of queries, keys, values and what they make."""
    columns = KV_HEADS * DIM
    query, out = (program.buffer(group * columns, "none") for _ in range(2))
    key, value = (program.buffer(columns, "none") for _ in range(2))
    program.append_kv(key, value, 0)
    options = kind.window or 0, kind.chunk or 0, kind.softcap or 0.0, kind.sinks, kind.is_tempered
    program.attend(query, out, 0, KV_HEADS * group, SCALE, *options)
    program.set_factors(FACTORS)
    program.open_cache(64)
    return [query, key, value, out]


def with_sinks(kind: AttentionKind, rng: np.random.Generator, heads: int) -> AttentionKind:
    """The kind with sinks, those of some heads so large that nothing else counts."""
    sinks = rng.normal(0, 2, heads).astype(np.float32)
    sinks[rng.random(heads) < 0.1] = 60
    return replace(kind, sinks=sinks)


def expected_row(values: Sequence[Floats], row: int, kv: str, kind: AttentionKind) -> Floats:
    """What the twin says of one row of queries, keys and values."""
    query, key, value = values
    group = query.shape[1] // (KV_HEADS * DIM)
    queries = query[row].reshape(KV_HEADS, group, DIM)
    sinks = [None] * KV_HEADS if kind.sinks is None else np.split(kind.sinks, KV_HEADS)
    heads = []
    for h in range(KV_HEADS):
        at = slice(h * DIM, (h + 1) * DIM)
        of_head = replace(kind, sinks=sinks[h])
        seen = Cached.of(key[: row + 1, at], value[: row + 1, at], kv)
        factor = FACTORS[row] if kind.is_tempered else 1.0
        heads.append(reference.attend(queries[h], seen, SCALE, of_head, float(factor)))
    return np.concatenate(heads).reshape(-1)


def random_values(rng: np.random.Generator, length: int, group: int) -> list[Floats]:
    columns = KV_HEADS * DIM
    sizes = (group * columns, columns, columns)
    return [rng.normal(0, 2, (length, size)).astype(np.float32) for size in sizes]


@pytest.mark.parametrize("kv", ["float32", "float16", "int8"])
@pytest.mark.parametrize("name", KINDS)
@given(
    seed=seeds,
    chunks=st.lists(st.integers(1, 60) | st.just(1), min_size=1, max_size=6),
    before=st.sampled_from([0, 1, 120, 500, 1100]),
    group=st.sampled_from([1, 3, 5]),
    has_sinks=st.booleans(),
)
@settings(max_examples=5, deadline=None)
def test_attention_equals_its_twin_however_the_rows_arrive(
    kv: str, name: str, seed: int, chunks: list[int], before: int, group: int, has_sinks: bool
) -> None:
    rng = np.random.default_rng(seed)
    arrivals = [60] * (before // 60) + chunks
    length = sum(arrivals)
    values = random_values(rng, length, group)
    kind = with_sinks(KINDS[name], rng, KV_HEADS * group) if has_sinks else KINDS[name]
    program = programs.new_program(threads=2, heads=KV_HEADS, dim=DIM, kv=kv)
    *inputs, out = record(program, kind, group)
    results = programs.stream(program, inputs, values, out, arrivals)
    for row in {*rng.choice(length, min(length, 4), replace=False).tolist(), length - 1}:
        assert_same_bits(results[row], expected_row(values, row, kv, kind))


@pytest.mark.parametrize("name", ["window 100", "chunk 600"])
def test_layers_of_different_reach_share_a_step(name: str) -> None:
    rng = np.random.default_rng(1)
    values = random_values(rng, 700, 3)
    program = programs.new_program(threads=2, heads=KV_HEADS, dim=DIM)
    query, key, value = (program.buffer(rows.shape[1], "none") for rows in values)
    outs = [program.buffer(3 * KV_HEADS * DIM, "none") for _ in range(2)]
    kinds = [KINDS[name], PLAIN]
    for kind, out in zip(kinds, outs, strict=True):
        program.append_kv(key, value, 0)
        reach = kind.window or 0, kind.chunk or 0
        program.attend(query, out, 0, KV_HEADS * 3, SCALE, *reach)
    program.open_cache(64)
    arrivals = [50] * 13 + [1] * 50
    second = programs.stream(program, (query, key, value), values, outs[1], arrivals)
    assert_same_bits(second[690], expected_row(values, 690, "float16", PLAIN))
    first = program.floats(outs[0])[0].copy()  # of the last step, which is one row
    assert_same_bits(first, expected_row(values, 699, "float16", kinds[0]))


def test_what_no_row_sees_is_not_read() -> None:
    """A page before every window may hold anything, NaN included."""
    rng = np.random.default_rng(2)
    values = random_values(rng, 400, 3)
    for rows in values[1:]:
        rows[:192] = np.nan
    program = programs.new_program(threads=2, heads=KV_HEADS, dim=DIM, kv="float32")
    *inputs, out = record(program, AttentionKind(window=100), 3)
    results = programs.stream(program, inputs, values, out, [50] * 6 + [1] * 60 + [40])
    for row in (291, 330, 365, 399):
        assert np.isfinite(results[row]).all()
        clean = [values[0], *(np.nan_to_num(rows) for rows in values[1:])]
        expected = expected_row(clean, row, "float32", AttentionKind(window=100))
        assert_same_bits(results[row], expected)


def test_attention_that_makes_no_sense_is_refused() -> None:
    program = programs.new_program(heads=KV_HEADS, dim=DIM)
    query, out = (program.buffer(6 * DIM, "none") for _ in range(2))
    for options in ((-1,), (0, -1), (0, 0, -1.0), (0, 0, 0.0, np.zeros(5, np.float32))):
        with pytest.raises(ValueError, match="a head has one sink"):
            program.attend(query, out, 0, 6, SCALE, *options)
    program.attend(query, out, 0, 6, SCALE, is_tempered=True)
    program.open_cache(1)
    with pytest.raises(ValueError, match="outside its positions"):
        programs.run(program, 1)  # there are no factors
    with pytest.raises(ValueError, match="same number of query heads"):
        program.attend(program.buffer(4 * DIM, "none"), program.buffer(4 * DIM, "none"), 0, 4, 1.0)
