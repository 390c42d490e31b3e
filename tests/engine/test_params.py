"""Sampling parameters: what is legal, what is refused, and how refusals read."""

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from wazn import SamplingParams
from wazn.errors import BadRequest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("max_tokens", True),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", 101),
        ("temperature", "warm"),
        ("top_k", -2),
        ("top_k", 2.0),
        ("top_p", 1.01),
        ("top_p", -0.5),
        ("min_p", 2),
        ("typical_p", float("nan")),
        ("repetition_penalty", 0),
        ("repetition_penalty", 1e300),
        ("presence_penalty", 2.5),
        ("presence_penalty", None),
        ("frequency_penalty", -3),
        ("logit_bias", {5: 101}),
        ("logit_bias", {-1: 0}),
        ("logit_bias", {"5": 1}),
        ("logit_bias", [5]),
        ("seed", 2**64),
        ("seed", -(2**63) - 1),
        ("seed", 1.0),
        ("stop", ""),
        ("stop", ["a", ""]),
        ("stop", 7),
        ("stop", [b"a"]),
        ("stop", "a" * 1001),
        ("stop", ["a"] * 65),
        ("stop_token_ids", [-1]),
        ("stop_token_ids", "1"),
        ("stop_token_ids", [1.0]),
        ("min_tokens", -1),
        ("min_tokens", None),
        ("ignore_eos", 1),
        ("logprobs", 21),
        ("logprobs", -1),
        ("logprobs", True),
        ("n", 0),
        ("n", 129),
    ],
)
def test_an_illegal_value_is_refused_by_field_and_value(field: str, value: Any) -> None:
    with pytest.raises(BadRequest) as refusal:
        SamplingParams(**{field: value})
    shown = value
    if isinstance(value, dict):
        shown = next(iter(value.values())) if "5" not in value else "5"
        shown = -1 if -1 in value else shown
    assert str(refusal.value).startswith(field)
    assert (repr(shown)[:60] in str(refusal.value)) or repr(shown[0]) in str(refusal.value)


def test_a_refusal_says_what_is_allowed_and_stays_short() -> None:
    with pytest.raises(BadRequest, match=r"^top_p is 3; it must be a number from 0 to 1\.$"):
        SamplingParams(top_p=3)
    with pytest.raises(BadRequest) as refusal:
        SamplingParams(stop="x" * 100_000)
    assert len(str(refusal.value)) < 250


def test_min_tokens_may_not_exceed_max_tokens() -> None:
    with pytest.raises(BadRequest, match="min_tokens is 9; it must be at most max_tokens=8"):
        SamplingParams(max_tokens=8, min_tokens=9)


def test_one_stop_string_is_not_taken_for_a_list_of_letters() -> None:
    assert SamplingParams(stop="END").stop == ("END",)
    assert SamplingParams(stop=["END", "STOP"]).stop == ("END", "STOP")


def test_the_limits_themselves_are_legal() -> None:
    SamplingParams(
        max_tokens=1,
        temperature=100,
        top_k=-1,
        top_p=0,
        min_p=1,
        typical_p=0,
        repetition_penalty=0.01,
        presence_penalty=-2,
        frequency_penalty=2,
        logit_bias={0: -100, 1: 100},
        seed=2**64 - 1,
        stop=[],
        stop_token_ids=[0],
        min_tokens=1,
        logprobs=20,
        n=128,
    )


def test_parameters_survive_a_process_border() -> None:
    params = SamplingParams(stop="END", logit_bias={5: -1.5}, stop_token_ids=[2], seed=3)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(params), type=SamplingParams) == params


def test_importing_wazn_loads_nothing_and_the_parameters_load_no_numpy() -> None:
    code = (
        "import sys, wazn; loaded = [m for m in sys.modules if m.startswith('wazn')];"
        "assert loaded == ['wazn'], loaded; wazn.SamplingParams(); import wazn.engine.request;"
        "assert not {'numpy', 'wazn.engine.engine', 'tokenizers'} & set(sys.modules);"
        "assert {'LLM', 'SamplingParams', '__version__'} <= set(dir(wazn));"
        "from wazn import LLM; assert LLM.__name__ == 'LLM'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    import wazn

    with pytest.raises(AttributeError, match="no attribute 'GPU'"):
        wazn.GPU  # noqa: B018
