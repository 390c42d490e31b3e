"""Speed: the work of a step, and what the fitted constants predict of measured runs."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bench.plan_fit import RUNS, tokens_of, works_of
from wazn.plan.families import read_shape
from wazn.plan.formats import in_format
from wazn.plan.known import known_models
from wazn.plan.memory import Load
from wazn.plan.shape import Shape
from wazn.plan.speed import (
    ATTENTION_COST,
    HEAD_COST,
    Constants,
    Machine,
    Work,
    decode_work,
    fitted_constants,
    prefill_work,
    speed_of,
)

RECORD: dict[str, Any] = json.loads(RUNS.read_text(encoding="utf-8"))
MACHINE = Machine(bandwidth=20e9, compute=100e9, memory_bytes=20 << 30, threads=2)
PERFECT = Constants(read_share=1, multiply_share=1, error=0.0)
QWEN_30B = in_format(read_shape(known_models()["qwen3-30b-a3b"].config, "qwen3-30b-a3b"), "Q4_0")
LLAMA = in_format(read_shape(known_models()["llama-3.1-8b"].config, "llama-3.1-8b"), "Q8_0")


def _head(shape: Shape) -> int:
    return sum(part.elements for part in shape.weights if part.role == "head")


def _name(run: dict[str, Any]) -> str:
    return f"{run['model']}-{run['kind']}-{run['users']}x{run['context']}"


def _predicted(run: dict[str, Any]) -> float:
    model = RECORD["models"][run["model"]]
    machine = Machine(run["bandwidth"], model["compute"], 1 << 34, model["threads"])
    works = works_of(RECORD, run)
    return tokens_of(run) / sum(work.seconds(machine, fitted_constants()) for work in works)


def test_a_step_reads_every_weight_but_the_embedding_once() -> None:
    work = decode_work(LLAMA, Load(1, 1), "float16")
    read = sum(part.num_bytes for part in LLAMA.weights if part.role != "embedding")
    cache = 32 * 2 * 8 * 128 * 2
    assert work.num_bytes == pytest.approx(read + cache)


def test_a_step_of_a_mixture_reads_the_experts_that_its_rows_need() -> None:
    experts = sum(part.num_bytes for part in QWEN_30B.weights if part.role == "expert")
    one, four = (decode_work(QWEN_30B, Load(users, 1), "float16").num_bytes for users in (1, 4))
    more = (1 - (120 / 128) ** 4) - 8 / 128
    assert four - one == pytest.approx(experts * more + 3 * 48 * 2 * 4 * 128 * 2)


def test_products_are_the_weights_times_the_rows_and_attention_over_the_context() -> None:
    at_100 = decode_work(LLAMA, Load(2, 100), "float16").products
    at_200 = decode_work(LLAMA, Load(2, 200), "float16").products
    attention = 2 * 100 * 32 * (2 * 32 * 128) * ATTENTION_COST
    assert at_200 - at_100 == pytest.approx(attention)
    eight_bits = 1.31
    blocks = sum(p.elements for p in LLAMA.weights if p.role in ("attention", "dense"))
    products = 2 * eight_bits * (blocks + HEAD_COST * _head(LLAMA))
    assert at_100 == pytest.approx(products + attention)


def test_a_prompt_is_taken_in_slices_and_only_its_last_token_has_logits() -> None:
    works = prefill_work(LLAMA, 600, "float16")
    assert len(works) == 3
    first, second, third = works
    assert second.products > first.products  # the same rows, but they see more
    without_head = replace(
        LLAMA, weights=tuple(part for part in LLAMA.weights if part.role != "head")
    )
    assert prefill_work(without_head, 600, "float16")[:2] == works[:2]
    assert prefill_work(without_head, 600, "float16")[2].products < third.products


def test_seconds_are_bytes_and_products_over_what_the_machine_does() -> None:
    work = Work(num_bytes=20e9, products=100e9)
    assert work.seconds(MACHINE, PERFECT) == pytest.approx(2.0)
    halved = Constants(read_share=0.5, multiply_share=0.25, error=0.0)
    assert work.seconds(MACHINE, halved) == pytest.approx(2 + 4)


def test_the_last_of_several_users_waits_for_the_prompts_of_all() -> None:
    one, four = (speed_of(LLAMA, Load(users, 512), "float16", MACHINE, PERFECT) for users in (1, 4))
    assert four.first_token_s == pytest.approx(4 * one.first_token_s)
    assert four.prefill_tok_s == pytest.approx(one.prefill_tok_s)
    assert one.decode_tok_s < four.decode_tok_s < 4 * one.decode_tok_s


@pytest.mark.parametrize("run", [run for run in RECORD["runs"] if run["fitted"]], ids=_name)
def test_speeds_of_fitted_models_are_predicted_within_a_quarter(run: dict[str, Any]) -> None:
    assert _predicted(run) == pytest.approx(run["tok_s"], rel=0.25)


@pytest.mark.parametrize("run", [run for run in RECORD["runs"] if not run["fitted"]], ids=_name)
def test_speeds_of_models_not_fitted_are_predicted_within_35_percent(run: dict[str, Any]) -> None:
    assert _predicted(run) == pytest.approx(run["tok_s"], rel=0.35)


def test_two_models_fit_the_constants_and_two_others_check_them() -> None:
    for is_fitted in (True, False):
        models = {run["model"] for run in RECORD["runs"] if run["fitted"] is is_fitted}
        assert len(models) >= 2


def test_the_error_that_is_stated_is_the_largest_that_was_found() -> None:
    errors = [abs(_predicted(run) / run["tok_s"] - 1) for run in RECORD["runs"]]
    assert fitted_constants().error == pytest.approx(max(errors), abs=0.01)
