"""The engine loop: answers, endings, refusals, cancelling and failing."""

import pytest

from tests.engine.fake_model import (
    BOS,
    EOS,
    VOCAB_SIZE,
    FakeConfig,
    FakeModel,
    logits_after,
)
from tests.engine.serving import (
    GREEDY,
    engine_of,
    finish,
    greedy_truth,
    last,
    prompt_of,
    request,
    tokens,
)
from wazn.engine.engine import Engine
from wazn.engine.params import SamplingParams
from wazn.engine.request import Request
from wazn.errors import BadFile, BadRequest, DoesNotFit, EngineFailed
from wazn.models.batch import PAGE


def test_greedy_answers_are_the_argmax_of_the_history() -> None:
    engine = engine_of()
    asked = [request(prompt_of(length)) for length in (1, 5, 16, 64, 65, 200)]
    for one in asked:
        engine.submit(one)
    increments = finish(engine)
    for one in asked:
        assert tokens(increments, one.id) == greedy_truth(one.prompt_ids, 20)
        assert last(increments, one.id).finish_reason == "length"


def test_decoding_goes_on_while_a_long_prompt_is_read_in_slices() -> None:
    engine = engine_of(max_rows=16)
    first, second = request(prompt_of(3)), request(prompt_of(100, seed=1))
    engine.submit(first)
    engine.step()
    engine.submit(second)
    for _ in range(6):
        assert [i.request_id for i in engine.step()] == [first.id]
    assert {i.request_id for i in engine.step()} == {first.id, second.id}
    model = engine._model
    assert isinstance(model, FakeModel)
    assert model.batches[1:8] == [[1, 15]] * 6 + [[1, 10]]


def test_many_prompts_share_the_rows_of_a_step_in_order_of_arrival() -> None:
    engine = engine_of(max_rows=16)
    asked = [request(prompt_of(length)) for length in (6, 6, 6, 2)]
    for one in asked:
        engine.submit(one)
    model = engine._model
    assert isinstance(model, FakeModel)
    assert {i.request_id for i in engine.step()} == {asked[0].id, asked[1].id}
    engine.step()
    assert model.batches == [[6, 6, 4], [1, 1, 2, 2]]


def test_a_stop_id_ends_the_answer_and_has_no_text() -> None:
    engine = engine_of(script={(1, 2): [*b"word"]})
    one = request([1, 2], SamplingParams(temperature=0))
    engine.submit(one)
    increments = finish(engine)
    assert tokens(increments, one.id) == [*b"word", EOS]
    assert "".join(i.text for i in increments) == "word"
    ending = last(increments, one.id)
    assert ending.finish_reason == "stop" and ending.usage is not None
    assert (ending.usage.prompt_tokens, ending.usage.completion_tokens) == (2, 5)


def test_ignore_eos_writes_on_and_own_stop_ids_still_stop() -> None:
    engine = engine_of(script={(1, 2): [EOS, 65, EOS, 66]})
    asked = [
        request([1, 2], SamplingParams(temperature=0, ignore_eos=True, max_tokens=4)),
        request([1, 2], SamplingParams(temperature=0, ignore_eos=True, stop_token_ids=[66])),
    ]
    for one in asked:
        engine.submit(one)
    increments = finish(engine)
    assert [last(increments, one.id).finish_reason for one in asked] == ["length", "stop"]
    assert tokens(increments, asked[1].id) == [EOS, 65, EOS, 66]


def test_min_tokens_holds_off_stop_ids_and_stop_strings() -> None:
    engine = engine_of(script={(1, 2): [EOS, EOS], (3, 4): [*b"abab"]})
    held = SamplingParams(temperature=0, min_tokens=3, max_tokens=10, logit_bias={70: 10})
    by_id = request([1, 2], held)
    by_text = request([3, 4], SamplingParams(temperature=0, min_tokens=2, stop="ab"))
    engine.submit(by_id)
    engine.submit(by_text)
    increments = finish(engine)
    assert tokens(increments, by_id.id) == [70, 70, 70, EOS]
    mine = [i for i in increments if i.request_id == by_text.id]
    assert "".join(i.text for i in mine) == "ab"
    assert mine[-1].finish_reason == "stop" and len(tokens(increments, by_text.id)) == 4


def test_a_stop_string_is_cut_off_across_token_borders() -> None:
    engine = engine_of(script={(1, 2): [*b"Yes.\nUser: and"]})
    one = request([1, 2], SamplingParams(temperature=0, stop=["\nUser:", "\nSystem:"]))
    engine.submit(one)
    increments = finish(engine)
    assert "".join(i.text for i in increments) == "Yes."
    assert last(increments, one.id).finish_reason == "stop"
    assert bytes(tokens(increments, one.id)) == b"Yes.\nUser:"


def test_text_held_back_for_a_stop_string_comes_when_the_answer_ends() -> None:
    engine = engine_of(script={(1, 2): [*b"Yes.\nUs"]})
    one = request([1, 2], SamplingParams(temperature=0, stop="\nUser:"))
    engine.submit(one)
    increments = finish(engine)
    assert "".join(i.text for i in increments) == "Yes.\nUs"
    assert last(increments, one.id).text == "\nUs"


def test_half_a_character_waits_and_ends_as_a_replacement() -> None:
    engine = engine_of(script={(1, 2): [*"é".encode()]})
    whole = request([1, 2], SamplingParams(temperature=0))
    half = request([1, 2], SamplingParams(temperature=0, max_tokens=1))
    engine.submit(whole)
    engine.submit(half)
    increments = finish(engine)
    assert [i.text for i in increments if i.request_id == whole.id] == ["", "é", ""]
    assert [i.text for i in increments if i.request_id == half.id] == ["\N{REPLACEMENT CHARACTER}"]


def test_log_probabilities_come_with_each_token_and_ignore_the_parameters() -> None:
    engine = engine_of()
    heat = SamplingParams(
        temperature=5, seed=1, logprobs=2, logit_bias={7: 50}, max_tokens=3, ignore_eos=True
    )
    one = request([1, 2, 3], heat)
    engine.submit(one)
    increments = finish(engine)
    assert tokens(increments, one.id) == [7, 7, 7]
    history = [1, 2, 3]
    for increment in increments:
        assert increment.logprobs is not None
        (score,) = increment.logprobs
        logits = logits_after(history)
        assert score.id == 7
        assert score.top[0][0] == int(logits.argmax()) and len(score.top) == 2
        history.append(7)


def test_n_answers_differ_and_the_first_is_that_of_one() -> None:
    def drawn(n: int) -> list[list[int]]:
        engine = engine_of()
        params = SamplingParams(temperature=2, seed=11, n=n, max_tokens=15, ignore_eos=True)
        one = request([1, 2, 3], params)
        engine.submit(one)
        increments = finish(engine)
        return [tokens(increments, one.id, index) for index in range(n)]

    three = drawn(3)
    assert three[0] == drawn(1)[0]
    assert len({tuple(answer) for answer in three}) == 3


def test_without_a_seed_every_request_draws_anew() -> None:
    engine = engine_of()
    params = SamplingParams(temperature=1, max_tokens=15, ignore_eos=True)
    asked = [request([1, 2, 3], params) for _ in range(3)]
    for one in asked:
        engine.submit(one)
    increments = finish(engine)
    assert len({tuple(tokens(increments, one.id)) for one in asked}) == 3


def test_the_models_own_defaults_are_used_and_checked() -> None:
    one = request([1, 2, 3], SamplingParams(max_tokens=20, ignore_eos=True))
    engine = engine_of(generation_defaults={"top_k": 1})
    engine.submit(one)
    assert tokens(finish(engine), one.id) == greedy_truth(one.prompt_ids, 20)
    with pytest.raises(BadFile, match="top_k is -7"):
        engine_of(generation_defaults={"top_k": -7})


def test_without_max_tokens_the_answer_runs_to_the_end_of_context_or_memory() -> None:
    params = SamplingParams(temperature=0, ignore_eos=True)
    for context, pages, room in [(100, 1000, 100), (None, 2, 2 * PAGE)]:
        engine = engine_of(pages, context)
        one = request(prompt_of(10), params)
        engine.submit(one)
        increments = finish(engine)
        assert len(tokens(increments, one.id)) == room - 10
        assert last(increments, one.id).finish_reason == "length"


def test_without_a_tokenizer_there_are_ids_and_no_text() -> None:
    engine = engine_of(tokenizer=None, chat_template=None)
    one = request([1, 2])
    engine.submit(one)
    increments = finish(engine)
    assert tokens(increments, one.id) == greedy_truth([1, 2], 20)
    assert {i.text for i in increments} == {""}


@pytest.mark.parametrize(
    ("length", "max_tokens", "context", "message"),
    [
        (9120, None, 8192, r"prompt has 9120 tokens; .* context is 8192, .*--context 16384\.$"),
        (9120, 5, 16384, None),
        (8192, None, 8192, r"prompt has 8192 tokens; .* context is 8192, the answer included"),
        (8191, None, 8192, None),
        (8191, 1, 8192, None),
        (8191, 2, 8192, r"8191 tokens and max_tokens is 2, together 8193; .*at most 1 tokens or"),
        (20000, None, 20000, r"context is 20000, the answer included\. Shorten it\.$"),
        (15000, 10**30, 20000, r"is 20000\. Ask for at most 5000 tokens\.$"),
        (17000, None, 16384, r"start with --context 20000\.$"),
    ],
)
def test_what_exceeds_the_context_is_refused_with_both_numbers(
    length: int, max_tokens: int | None, context: int, message: str | None
) -> None:
    engine = engine_of(context=context, config=FakeConfig(context_length=20000))
    one = request(prompt_of(length), SamplingParams(max_tokens=max_tokens))
    if message is None:
        engine.check(one)
    else:
        with pytest.raises(DoesNotFit, match=message):
            engine.submit(one)
        assert not engine.has_work


def test_what_exceeds_the_memory_is_refused_with_the_figures() -> None:
    engine = engine_of(pages=3, page_bytes=2**27)
    engine.check(request(prompt_of(100), SamplingParams(max_tokens=3 * PAGE - 100)))
    with pytest.raises(DoesNotFit, match=r"100 tokens and max_tokens is 93; .*0\.50 GiB .*0\.38 G"):
        engine.check(request(prompt_of(100), SamplingParams(max_tokens=3 * PAGE - 99)))
    with pytest.raises(DoesNotFit, match="prompt has 192 tokens; that needs"):
        engine.check(request(prompt_of(192), SamplingParams()))


def test_an_engine_without_a_single_page_or_with_a_foreign_context_is_refused() -> None:
    with pytest.raises(DoesNotFit, match=r"budget is 1\.0 MiB; .*takes 2\.0 MiB \(64 tokens\)"):
        Engine(FakeModel(page_bytes=2**21), None, 2**20)
    for context in (0, 1, 1025):
        with pytest.raises(BadRequest, match=f"context is {context}; this model takes 2 to 1024"):
            engine_of(context=context)


def test_a_cache_is_no_larger_than_it_could_ever_be_used() -> None:
    engine = engine_of(pages=10**9, max_rows=16)
    assert engine.limits.num_pages == 16 * 1024 // PAGE


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "the prompt is empty"),
        ([1, VOCAB_SIZE], f"token id {VOCAB_SIZE} at place 1 .* ids 0 to {VOCAB_SIZE - 1}"),
        ([-1], "token id -1 at place 0"),
        ([1.5], "list of whole numbers"),
        ([True], "list of whole numbers"),
        (["a"], "list of whole numbers"),
        ([2**70], "list of whole numbers"),
        ([[1], [2, 3]], "list of whole numbers"),
        ([[1, 2]], "list of whole numbers"),
    ],
)
def test_prompts_that_are_no_token_ids_are_refused(prompt: list[int], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        engine_of().submit(Request("one", prompt, GREEDY))


def test_parameters_with_ids_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(BadRequest, match="logit_bias has token id 264"):
        engine_of().submit(request([1], SamplingParams(logit_bias={VOCAB_SIZE: 1})))
    with pytest.raises(BadRequest, match="stop_token_ids has token id 999"):
        engine_of().submit(request([1], SamplingParams(stop_token_ids=[1, 999])))


def test_stop_ids_that_leave_no_token_before_min_tokens_are_refused() -> None:
    every_id = [*range(VOCAB_SIZE)]
    with pytest.raises(BadRequest, match="min_tokens is 1, and stop_token_ids has all 264 tokens"):
        engine_of().submit(request([1], SamplingParams(min_tokens=1, stop_token_ids=every_id)))
    for params in (
        SamplingParams(stop_token_ids=every_id),
        SamplingParams(min_tokens=1, stop_token_ids=every_id[1:]),
    ):
        engine_of().submit(request([1], params))


def test_stop_ids_of_a_tokenizer_that_the_model_lacks_are_no_harm() -> None:
    engine = engine_of(stop_ids=frozenset({EOS, VOCAB_SIZE + 5}))
    one = request([1], SamplingParams(temperature=0, max_tokens=3, min_tokens=3))
    engine.submit(one)
    assert len(tokens(finish(engine), one.id)) == 3


def test_a_request_id_in_use_is_refused_and_free_again_afterwards() -> None:
    engine = engine_of()
    engine.submit(Request("one", [1], GREEDY))
    with pytest.raises(BadRequest, match="'one' is already being served"):
        engine.submit(Request("one", [2], GREEDY))
    finish(engine)
    engine.submit(Request("one", [2], GREEDY))


@pytest.mark.parametrize("num_steps", [0, 2, 9])
def test_cancelling_ends_every_answer_once_and_leaves_the_others_alone(num_steps: int) -> None:
    engine = engine_of(max_rows=16, pages=20)
    doomed = request(prompt_of(60), SamplingParams(temperature=0, n=2, ignore_eos=True))
    other = request(prompt_of(5, seed=2))
    engine.submit(doomed)
    engine.submit(other)
    increments = [i for _ in range(num_steps) for i in engine.step()]
    engine.cancel(doomed.id)
    engine.cancel(doomed.id)
    engine.cancel("never seen")
    finish(engine, increments)
    for index in (0, 1):
        ending = last(increments, doomed.id, index)
        assert ending.finish_reason == "cancelled" and ending.usage is not None
        assert ending.usage.completion_tokens == len(tokens(increments, doomed.id, index))
    assert tokens(increments, other.id) == greedy_truth(other.prompt_ids, 20)
    assert engine._scheduler._pool.num_free == 20


def test_cancelling_hands_out_text_that_was_held_back() -> None:
    engine = engine_of(script={(1, 2): [*b"ab"]})
    one = request([1, 2], SamplingParams(temperature=0, stop="abc"))
    engine.submit(one)
    assert [engine.step()[0].text for _ in range(2)] == ["", ""]
    engine.cancel(one.id)
    assert [i.text for i in engine.step()] == ["ab"]
    assert not engine.has_work and engine.step() == []


def test_a_failing_model_ends_everything_and_the_engine_says_so() -> None:
    model = FakeModel()
    engine = Engine(model, None, 100_000)
    engine.submit(request([1, 2]))
    engine.step()
    model.error = RuntimeError("the weights file is gone")
    with pytest.raises(EngineFailed, match="RuntimeError: the weights file is gone"):
        engine.step()
    assert not engine.has_work
    model.error = None
    engine.cancel("whatever")
    for refused in (
        lambda: engine.step(),
        lambda: engine.submit(request([1])),
        lambda: engine.logits([1]),
    ):
        with pytest.raises(EngineFailed, match=r"the weights file is gone\. Load the model again"):
            refused()


def test_logits_that_are_not_numbers_are_a_failure_not_a_token() -> None:
    engine = engine_of(script={(1, 2): []})
    model = engine._model
    assert isinstance(model, FakeModel)
    model._scripted = lambda history: logits_after(history) * float("nan")  # type: ignore[method-assign]
    engine.submit(request([1, 2]))
    with pytest.raises(EngineFailed, match="the logit of token 0 is nan"):
        engine.step()


def test_usage_times_add_up_to_the_stay() -> None:
    engine = engine_of(max_rows=16)
    asked = [request(prompt_of(40)), request([BOS])]
    for one in asked:
        engine.submit(one)
    increments = finish(engine)
    for one in asked:
        usage = last(increments, one.id).usage
        assert usage is not None
        assert min(usage.queue_s, usage.prefill_s, usage.decode_s) >= 0
        assert usage.completion_tokens == 20 and usage.reasoning_tokens == 0
