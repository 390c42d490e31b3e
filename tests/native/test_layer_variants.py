"""The kernels of latent and linear attention of every instruction set against their twins.

As ``test_variants``, and collected as it is: the same drivers, compiled once.
"""

import numpy as np
import pytest

from tests.native.driver import Driver, case
from tests.native.test_variants import KV_FORMATS, assert_same_bits, floats
from tests.native.test_variants import kernels as kernels
from wazn.models import layer_reference as twin
from wazn.models import reference
from wazn.models.reference import Floats

pytestmark = pytest.mark.timeout(900)


def number(x: float) -> Floats:
    return np.array([x], np.float32)


@pytest.mark.parametrize("kv", KV_FORMATS)
def test_latent_attention_equals_its_twin(kernels: Driver, kv: str) -> None:
    rng = np.random.default_rng(1)
    # Of more than 64 heads, the program makes several tasks.
    shapes = [(1, 1, 16, 2, 1), (5, 3, 32, 8, 63), (9, 64, 16, 16, 65), (2, 5, 48, 4, 600)]
    cases, expected = [], []
    for rows, heads, latent, rotary, positions in shapes:
        queries = rng.normal(0, 1.5, (rows, heads, latent + rotary)).astype(np.float32)
        cached = rng.normal(0, 1.5, (positions, latent + rotary)).astype(np.float32)
        sinks = rng.normal(0, 1, heads).astype(np.float32) if rows > 2 else None
        parts = [np.split(x, [latent], axis=-1) for x in (queries, cached)]
        arrays = *parts[0], *parts[1], number(0.25), sinks
        parameters = [rows, heads, latent, rotary, KV_FORMATS.index(kv), positions]
        cases.append(case("latent", parameters, *arrays))
        kept = twin.round_rows(cached, kv)
        for row in range(rows):
            seen = kept[: positions - rows + row + 1]
            expected.append(twin.attend_rows(queries[row], seen, latent, 0.25, sinks).reshape(-1))
    found = np.concatenate([floats(answer) for answer in kernels.run(cases)])
    assert_same_bits(found, np.concatenate(expected), kv)


@pytest.mark.parametrize("kv", KV_FORMATS)
def test_index_scores_equal_their_twin(kernels: Driver, kv: str) -> None:
    rng = np.random.default_rng(2)
    cases, expected = [], []
    for heads, dim, positions in ((1, 16, 1), (5, 32, 64), (33, 48, 200)):
        query = rng.normal(0, 1, (heads, dim)).astype(np.float32)
        weights = rng.normal(0, 1, heads).astype(np.float32)
        keys = rng.normal(0, 1, (positions, dim)).astype(np.float32)
        parameters = [heads, dim, positions, KV_FORMATS.index(kv)]
        cases.append(case("index", parameters, query, weights, keys, number(0.3)))
        expected.append(twin.index_scores(query, weights, twin.round_rows(keys, kv), 0.3))
    for answer, scores in zip(kernels.run(cases), expected, strict=True):
        assert_same_bits(floats(answer), scores, f"{len(scores)} positions")


def test_work_on_a_row_equals_its_twins(kernels: Driver) -> None:
    rng = np.random.default_rng(3)
    cases, expected = [], []
    for columns in (*range(1, 34), 100):
        x, weight, bias = rng.normal(0, 4, (3, columns)).astype(np.float32)
        cases.append(case("layer_norm", [columns], x, weight, bias, number(1e-6)))
        expected.append(twin.layer_norm(x, weight, bias, 1e-6))
        cases.append(case("activate", [columns], x))
        expected.append(np.concatenate([twin.sqrt_softplus(x), twin.sigmoid_gate(x, x)]))
        cases.append(case("gate", [columns], x, weight, number(2.5)))
        expected.append(
            np.concatenate([reference.geglu(x, weight), reference.clamped_glu(x, weight, 2.5)])
        )
        for factor, cap in ((1.7, 0.0), (0.3, 2.0)):
            cases.append(case("scale", [columns], x, number(factor), number(cap)))
            expected.append(twin.scaled(x, factor, cap))
        values, gates, biases = rng.normal(0, 3, (3, 7, columns)).astype(np.float32)
        cases.append(case("pool", [7, columns], values, gates, biases))
        expected.append(twin.pool(values, gates + biases))
    for answer, result in zip(kernels.run(cases), expected, strict=True):
        assert_same_bits(floats(answer), result, f"{result.size} numbers")


def test_recurrences_equal_their_twins(kernels: Driver) -> None:
    rng = np.random.default_rng(4)
    cases, expected = [], []
    for rows, columns, size in ((1, 1, 2), (9, 16, 4), (30, 37, 3)):
        x = rng.normal(0, 2, (rows, columns)).astype(np.float32)
        weight = rng.normal(0, 1, (size, columns)).astype(np.float32)
        cases.append(case("convolve", [rows, columns, size], x, weight))
        expected.append(twin.causal_conv(x, weight))
    for rows, key_dim, value_dim in ((1, 3, 16), (20, 12, 64), (40, 24, 80)):
        query, key = rng.normal(0, 1, (2, rows, key_dim)).astype(np.float32) / 2
        value = rng.normal(0, 1, (rows, value_dim)).astype(np.float32)
        a, b = rng.normal(0, 1, (2, rows, 1)).astype(np.float32)
        rate, bias = number(-0.7), number(0.2)
        parameters = [rows, key_dim, value_dim]
        cases.append(case("delta", parameters, query, key, value, a, b, rate, bias))
        decay, beta = (gate[:, 0] for gate in twin.delta_gates(a, b, rate, bias))
        unit = twin.unit_length(query, 1e-6, 0.5)
        expected.append(twin.delta_rule(unit, key, value, decay, beta))
    for answer, result in zip(kernels.run(cases), expected, strict=True):
        assert_same_bits(floats(answer), result, result.shape)
