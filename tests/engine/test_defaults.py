"""The model's own generation defaults: when they apply, and when they are damaged."""

import pytest

from wazn.engine.defaults import Sampling, check_defaults, resolve
from wazn.engine.params import SamplingParams
from wazn.errors import BadFile

QWEN = {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.05}


def test_open_parameters_take_the_models_defaults_one_by_one() -> None:
    assert resolve(SamplingParams(), QWEN) == Sampling(0.7, 20, 0.8, repetition_penalty=1.05)
    chosen = resolve(SamplingParams(temperature=1, top_k=0), QWEN)
    assert chosen == Sampling(1, 0, 0.8, repetition_penalty=1.05)


def test_a_model_without_defaults_is_sampled_as_it_is() -> None:
    assert resolve(SamplingParams(), {}) == Sampling(temperature=1.0)


def test_greedy_takes_no_default_of_the_model() -> None:
    assert resolve(SamplingParams(temperature=0), QWEN) == Sampling(temperature=0)
    own = resolve(SamplingParams(temperature=0, repetition_penalty=1.2), QWEN)
    assert own == Sampling(temperature=0, repetition_penalty=1.2)


def test_a_model_that_does_not_sample_is_greedy_unless_asked_otherwise() -> None:
    defaults = check_defaults({"do_sample": False, "temperature": 0.7})
    assert resolve(SamplingParams(), defaults).temperature == 0
    assert resolve(SamplingParams(temperature=0.5), defaults).temperature == 0.5
    assert check_defaults({"do_sample": True, **QWEN}) == QWEN


def test_other_fields_of_the_file_are_ignored() -> None:
    assert check_defaults({"max_length": 20, "top_p": None}) == {}  # type: ignore[dict-item]


@pytest.mark.parametrize("damage", [{"top_p": -3}, {"temperature": float("nan")}, {"top_k": 2.5}])
def test_damaged_defaults_are_named(damage: dict[str, float]) -> None:
    with pytest.raises(BadFile, match=f"generation defaults are damaged: {next(iter(damage))} is"):
        check_defaults(damage)
