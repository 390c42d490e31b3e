"""Rotary frequencies against published numbers and against each other."""

import dataclasses
import math

import numpy as np
import pytest

from tests.models.random_models import random_config
from wazn.errors import BadFile
from wazn.models.config import Config, RopeScaling
from wazn.models.rotary import Angles, frequencies


def config(scaling: RopeScaling, **changes: float | int) -> Config:
    changed = dataclasses.replace(random_config("llama"), rope_scaling=scaling, head_dim=64)
    return dataclasses.replace(changed, **changes)  # type: ignore[arg-type]


def test_linear_scaling_divides_every_frequency() -> None:
    plain, _ = frequencies(config(RopeScaling()))
    scaled, factor = frequencies(config(RopeScaling("linear", 4.0)))
    np.testing.assert_allclose(scaled, plain / 4)
    assert factor == 1.0


def test_llama3_keeps_short_waves_and_slows_long_ones() -> None:
    scaling = RopeScaling("llama3", 8.0, 1.0, 4.0, 8192)
    plain, _ = frequencies(config(RopeScaling(), rope_theta=500000.0))
    scaled, _ = frequencies(config(scaling, rope_theta=500000.0))
    waves = 2 * math.pi / plain
    np.testing.assert_array_equal(scaled[waves < 8192 / 4], plain[waves < 8192 / 4])
    np.testing.assert_allclose(scaled[waves > 8192], plain[waves > 8192] / 8)
    between = (waves >= 8192 / 4) & (waves <= 8192)
    blend = (8192 / waves[between] - 1) / 3
    expected = (1 - blend) * plain[between] / 8 + blend * plain[between]
    np.testing.assert_allclose(scaled[between], expected)


def test_yarn_gives_the_published_numbers_of_gpt_oss() -> None:
    """theta 150000, factor 32, original context 4096: ramp 8.0928 to 17.3980, factor 1.3465736."""
    scaling = RopeScaling("yarn", 32.0, original_context_length=4096, truncate=False)
    plain, _ = frequencies(config(RopeScaling(), rope_theta=150000.0))
    scaled, factor = frequencies(config(scaling, rope_theta=150000.0))
    assert factor == pytest.approx(1.3465736, abs=1e-7)
    ramp = (1 - scaled / plain) / (1 - 1 / 32)
    slope = 1 / (17.3980 - 8.0928)
    assert ramp[9] == pytest.approx((9 - 8.0928) * slope, abs=1e-4)
    assert ramp[17] == pytest.approx((17 - 8.0928) * slope, abs=1e-4)
    assert ramp[8] == 0.0
    assert ramp[18] == pytest.approx(1.0)


def test_ready_factors_divide_and_must_fit() -> None:
    factors = tuple(float(i + 1) for i in range(32))
    plain, _ = frequencies(config(RopeScaling()))
    scaled, _ = frequencies(config(RopeScaling("factors", factors=factors)))
    np.testing.assert_allclose(scaled, plain / factors)
    with pytest.raises(BadFile, match="31 elements, not 32"):
        frequencies(config(RopeScaling("factors", factors=factors[1:])))


def test_the_table_grows_and_keeps_its_rows() -> None:
    angles = Angles(config(RopeScaling(), context_length=5000))
    before = angles.table
    assert not angles.grow(1024)
    assert angles.grow(1025)
    assert len(angles.table) == 2048
    np.testing.assert_array_equal(angles.table[:1024], before)
    assert angles.grow(5000)
    assert len(angles.table) == 5000
    assert angles.table[0].tolist() == [[1.0, 0.0]] * 32
