"""Scaled and added rows against their twins, and choices that go by a router's products."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import programs
from tests.native.programs import Floats
from wazn.models import layer_reference as twin
from wazn.models.recorder import LOGITS
from wazn.weights.formats import Format

seeds = st.integers(0, 2**32 - 1)
factors = st.sampled_from([1.0, 0.5, 78.38367176906169])
caps = st.sampled_from([0.0, 0.25, 30.0])


def assert_same_bits(actual: Floats, expected: Floats) -> None:
    np.testing.assert_array_equal(actual.view(np.uint32), expected.view(np.uint32))


def rows_of(seed: int, rows: int, columns: int) -> Floats:
    return np.random.default_rng(seed).normal(0, 3, (rows, columns)).astype(np.float32)


@given(seed=seeds, rows=st.integers(1, 20), columns=st.integers(1, 70), factor=factors, cap=caps)
@settings(max_examples=25, deadline=None)
def test_scaled_rows_equal_their_twin(
    seed: int, rows: int, columns: int, factor: float, cap: float
) -> None:
    x = rows_of(seed, rows, columns)
    program = programs.new_program(threads=3)
    buffer = program.buffer(columns, "none")
    program.scale(buffer, factor, cap)
    program.open_cache(64)
    program.floats(buffer)[:rows] = x
    programs.run(program, rows)
    assert_same_bits(program.floats(buffer)[:rows], twin.scaled(x, factor, cap))


@given(seed=seeds, rows=st.integers(1, 5), columns=st.integers(1, 200), cap=caps)
@settings(max_examples=25, deadline=None)
def test_scaled_logits_equal_their_twin(seed: int, rows: int, columns: int, cap: float) -> None:
    x = rows_of(seed, rows, 32)
    weight = programs.packed(np.eye(columns, 32, dtype=np.float32).view(np.uint8), Format.F32, 32)
    program = programs.new_program(threads=3)
    source, wanted = (program.buffer(32, "none") for _ in range(2))
    program.gather(source, wanted)
    program.linear(wanted, [(weight, None, LOGITS, False)])
    program.scale(LOGITS, 0.75, cap)
    program.end_segment("all")
    program.set_angles(np.zeros((64, 8, 2), np.float32))
    program.open_cache(1)
    program.floats(source)[:rows] = x
    logits = np.empty((rows, columns), np.float32)
    starts, none = np.array([0, rows], np.int32), np.zeros(1, np.int32)
    order = np.arange(rows, dtype=np.int32)
    program.run(0, 1, np.zeros(rows, np.int32), starts, none, none[None], order, logits)
    plain = np.zeros((rows, columns), np.float32)
    plain[:, :32] = x[:, :columns]
    np.testing.assert_array_equal(logits, twin.scaled(plain, 0.75, cap))


@given(seed=seeds, rows=st.integers(1, 20), columns=st.integers(1, 70))
@settings(max_examples=10, deadline=None)
def test_added_rows_are_sums(seed: int, rows: int, columns: int) -> None:
    first, second = rows_of(seed, rows, columns), rows_of(seed + 1, rows, columns)
    program = programs.new_program(threads=2)
    x, out = (program.buffer(columns, "none") for _ in range(2))
    program.add(x, out)
    program.open_cache(64)
    programs.fill(program, [x, out], [first, second])
    programs.run(program, rows)
    assert_same_bits(program.floats(out)[:rows], first + second)


def test_rows_that_do_not_fit_are_refused() -> None:
    program = programs.new_program()
    x, out = program.buffer(5, "none"), program.buffer(6, "none")
    with pytest.raises(ValueError, match="5 columns, not 6"):
        program.add(x, out)
    with pytest.raises(ValueError, match="no less than 0"):
        program.scale(x, 1.0, -1.0)
    with pytest.raises(ValueError, match="there is no buffer 9"):
        program.scale(9, 1.0, 0.0)
