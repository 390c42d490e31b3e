"""Linear attention against its NumPy twins, bit for bit, and what it demands of a batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import programs
from tests.native.test_latent import assert_same_bits, chunk_lists, seeds
from wazn import native
from wazn.models import layer_reference as twin
from wazn.models import reference
from wazn.weights.formats import Format


@given(seed=seeds, chunks=chunk_lists, columns=st.integers(1, 70), size=st.integers(2, 5))
@settings(max_examples=8, deadline=None)
def test_a_convolution_equals_its_twin_however_the_rows_arrive(
    seed: int, chunks: list[int], columns: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 2, (sum(chunks), columns)).astype(np.float32)
    weight = rng.normal(0, 1, (size, columns)).astype(np.float32)
    program = programs.new_program(threads=3)
    buffer = program.buffer(columns, "none")
    program.causal_conv(buffer, weight.reshape(-1), size)
    program.open_cache(64)
    found = programs.stream(program, [buffer], [x], buffer, chunks)
    assert_same_bits(found, twin.causal_conv(x, weight))


@given(seed=seeds, chunks=chunk_lists, value_dim=st.sampled_from([16, 64, 80]), tiled=st.booleans())
@settings(max_examples=5, deadline=None)
def test_a_delta_rule_equals_its_twin_however_the_rows_arrive(
    seed: int, chunks: list[int], value_dim: int, tiled: bool
) -> None:
    rng = np.random.default_rng(seed)
    keys, heads, key_dim, length = 2, 4, 12, sum(chunks)
    shapes = (keys * key_dim, keys * key_dim, heads * value_dim, heads, heads)
    values = [rng.normal(0, 1, (length, columns)).astype(np.float32) for columns in shapes]
    rate, bias = -rng.random(heads).astype(np.float32), rng.random(heads).astype(np.float32)
    program = programs.new_program(threads=2)
    buffers = [program.buffer(columns, "none") for columns in shapes]
    out = program.buffer(heads * value_dim, "none")
    program.unit_length(buffers[0], keys, 1e-6, key_dim**-0.5)
    program.delta_gates(buffers[3], buffers[4], rate, bias)
    query_at, key_at, value_at, decay_at, beta_at = buffers
    program.delta_rule(query_at, key_at, value_at, decay_at, beta_at, out, keys, tiled)
    program.open_cache(64)
    found = programs.stream(program, buffers, values, out, chunks).reshape(length, heads, -1)
    query, key = (x.reshape(length, keys, -1) for x in values[:2])
    query = twin.unit_length(query, 1e-6, key_dim**-0.5)
    decay, beta = twin.delta_gates(values[3], values[4], rate, bias)
    value = values[2].reshape(length, heads, -1)
    for head in range(heads):
        of = head % keys if tiled else head // (heads // keys)
        expected = twin.delta_rule(
            query[:, of], key[:, of], value[:, head], decay[:, head], beta[:, head]
        )
        assert_same_bits(np.ascontiguousarray(found[:, head]), expected)


@given(seed=seeds, columns=st.integers(1, 70))
@settings(max_examples=20, deadline=None)
def test_a_sigmoid_gate_equals_its_twin(seed: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    gate, x = rng.normal(0, 20, (2, 5, columns)).astype(np.float32)
    program = programs.new_program()
    buffers = [program.buffer(columns, "none") for _ in range(3)]
    program.sigmoid_gate(*buffers)
    program.open_cache(64)
    programs.fill(program, buffers[:2], [gate, x])
    programs.run(program, 5)
    assert_same_bits(program.floats(buffers[2])[:5].copy(), twin.sigmoid_gate(gate, x))


def test_softplus_is_close_to_the_exact_value() -> None:
    x = np.linspace(-80, 80, 4001).astype(np.float32)
    exact = np.logaddexp(0.0, x.astype(np.float64))
    np.testing.assert_allclose(twin.softplus(x), exact, rtol=1e-6)


def with_a_state() -> native.Program:
    program = programs.new_program()
    program.causal_conv(program.buffer(16, "none"), np.ones(32, np.float32), 2)
    program.open_cache(64, 2)
    program.end_segment("all")
    program.set_angles(np.zeros((64, 8, 2), np.float32))  # they say how many positions there are
    return program


def step(program: native.Program, first: list[int], slots: list[int] | None) -> None:
    count = len(first)
    program.run(
        0,
        1,
        np.zeros(count, np.int32),
        np.arange(count + 1, dtype=np.int32),
        np.array(first, np.int32),
        np.arange(count * 2, dtype=np.int32).reshape(count, 2),
        np.empty(0, np.int32),
        np.empty((0, 1), np.float32),
        None if slots is None else np.array(slots, np.int32),
    )


def test_a_state_goes_on_only_from_where_it_was_left() -> None:
    program = with_a_state()
    step(program, [0, 0], [1, 0])
    step(program, [1, 0], [0, 1])
    for first, slots, message in (
        ([2, 2], [0, 1], "goes on from position 1, not 2"),
        ([2, 2], [0, 0], "named twice"),
        ([2], [2], "state slot 2 does not exist"),
        ([2], [-1], "state slot -1 does not exist"),
        ([2], None, "names no state slots"),
        ([2], [0, 1], "do not agree in length"),
    ):
        with pytest.raises(ValueError, match=message):
            step(program, first, slots)
    step(program, [2, 1], [0, 1])


def test_what_does_not_fit_a_recurrence_is_refused() -> None:
    program = programs.new_program()
    wide, narrow, two = (program.buffer(columns, "none") for columns in (32, 16, 2))
    ones = np.ones(32, np.float32)
    with pytest.raises(ValueError, match="a weight for each column and place"):
        program.causal_conv(wide, ones, 2)
    with pytest.raises(ValueError, match="heads divide a row"):
        program.unit_length(wide, 5, 1e-6, 1.0)
    with pytest.raises(ValueError, match="a rate and a bias for each head"):
        program.delta_gates(two, two, ones, ones)
    with pytest.raises(ValueError, match="heads do not divide"):
        program.delta_rule(wide, wide, narrow, two, two, narrow, 3, False)
    with pytest.raises(ValueError, match="a multiple of 16 wide"):
        program.delta_rule(wide, wide, narrow, two, two, narrow, 1, False)
    assert program.state_bytes == 0


@given(seed=seeds, scoring=st.sampled_from(["softmax", "sigmoid", "sqrt_softplus"]))
@settings(max_examples=30, deadline=None)
def test_a_router_with_groups_and_a_bias_equals_its_twin(seed: int, scoring: str) -> None:
    rng = np.random.default_rng(seed)
    experts, rows = 12, 9
    grouping = twin.Grouping(
        bias=rng.integers(-1, 2, experts).astype(np.float32) if rng.random() < 0.5 else None,
        groups=(groups := int(rng.choice([1, 2, 3, 4, 6]))),
        top_groups=int(rng.integers((groups + 2) // 3, groups + 1)),
        sums_two=bool(rng.random() < 0.5),
        scale=2.5,
        least_sum=float(rng.choice([0.0, 1.2])),
    )
    top_k = int(rng.integers(1, experts // groups * grouping.top_groups + 1))
    router = np.eye(experts, dtype=np.float32)
    logits = rng.integers(-2, 3, (rows, experts)).astype(np.float32)  # with ties
    weight = programs.packed(router.view(np.uint8), Format.F32, experts)
    scores = {
        "softmax": reference.softmax,
        "sigmoid": reference.sigmoid,
        "sqrt_softplus": twin.sqrt_softplus,
    }[scoring](logits)
    ids, weights = twin.choose_grouped(scores, top_k, grouping, normalize=True)
    total = reference.linear_float(np.ones((1, experts), np.float32), logits)
    made = reference.swiglu(total, total)
    expected = np.zeros((rows, experts), np.float32)
    np.put_along_axis(expected, ids, weights * made, axis=1)
    assert_same_bits(routed(weight, logits, top_k, scoring, grouping), expected)


def test_a_choice_by_logits_tells_apart_what_scores_do_not() -> None:
    """Sigmoids of large products are all 1."""
    logits = np.array([[20, 60, 40, 90]], np.float32)
    weight = programs.packed(np.eye(4, dtype=np.float32).view(np.uint8), Format.F32, 4)
    program = programs.new_program()
    source, scores, inner, out = (program.buffer(4, "none") for _ in range(4))
    ones = stack(np.ones((4, 4, 4), np.float32))
    places = stack(np.stack([np.full((4, 4), 2.0**e, np.float32) for e in range(4)]))
    program.route(source, weight, scores, 1, programs.choice(scoring="sigmoid", by_logits=True))
    program.experts_up(source, program.buffer(4, "none"), ones, ones, inner)
    program.experts_down(inner, places, out, False)
    program.open_cache(64)
    programs.fill(program, [source], [logits])
    programs.run(program, 1)
    assert (program.floats(scores)[0] == 1).all()
    total = np.float32(210)
    assert program.floats(out)[0, 0] == total * total * 4 * 2**3  # silu(210) is 210


def routed(
    weight: native.Weight,
    logits: programs.Floats,
    top_k: int,
    scoring: str,
    grouping: twin.Grouping,
) -> programs.Floats:
    """What each row's experts make of it (rows, experts).

    All make silu(s) * s of the sum s of a row, each at a place of its own in the result.
    """
    rows, experts = logits.shape
    options = programs.choice(
        normalize=True,
        scoring=scoring,
        bias=grouping.bias,
        groups=grouping.groups,
        top_groups=grouping.top_groups,
        sums_two=grouping.sums_two,
        scale=grouping.scale,
        least_sum=grouping.least_sum,
    )
    program = programs.new_program(threads=2, exact=True)
    source, scores, result = (program.buffer(experts, "none") for _ in range(3))
    gathered, inner = program.buffer(experts, "none", top_k), program.buffer(1, "none", top_k)
    program.route(source, weight, scores, top_k, options)
    ones = stack(np.ones((experts, 1, experts), np.float32))
    places = stack(np.eye(experts, dtype=np.float32)[:, :, None])
    program.experts_up(source, gathered, ones, ones, inner)
    program.experts_down(inner, places, result, False)
    program.open_cache(64)
    programs.fill(program, [source], [logits])
    programs.run(program, rows)
    return program.floats(result)[:rows].copy()


def stack(matrices: programs.Floats) -> native.Weight:
    count, rows, columns = matrices.shape
    layout = native.LAYOUTS["F32"]
    size = native.packed_bytes(layout, rows, columns)
    memory = native.Memory.allocate(count * size)
    for number, matrix in enumerate(matrices):
        part = memory.writable()[number * size : (number + 1) * size]
        native.pack(layout, np.ascontiguousarray(matrix).view(np.uint8), columns, part)
    return native.Weight.create(memory, 0, layout, rows, columns, count)
