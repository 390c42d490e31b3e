"""The Python API: prompts in every shape, several threads, streams, interrupts, closing."""

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.engine.fake_model import (
    BOS,
    END_THINK,
    EOS,
    THINK,
    FakeConfig,
    FakeModel,
    fake_tokenizer,
    logits_after,
)
from tests.engine.serving import alone, greedy_truth, prompt_of
from wazn import LLM, Completion, SamplingParams
from wazn.engine.request import Increment
from wazn.errors import BadRequest, DoesNotFit, EngineFailed
from wazn.models.batch import Batch

GREEDY = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
ENDLESS = SamplingParams(temperature=0, ignore_eos=True)


def open_llm(**fields: Any) -> LLM:
    return LLM(FakeModel(**fields), memory=1_000_000)


@pytest.fixture
def llm() -> Iterator[LLM]:
    with open_llm() as llm:
        yield llm


class Gated(FakeModel):
    """Each step waits for a permit, so that a test decides what happens meanwhile."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.permits = threading.Semaphore(0)
        self.is_free = False
        self.has_begun = threading.Event()

    def forward(self, batch: Batch, /) -> NDArray[np.float32]:
        self.has_begun.set()
        assert self.is_free or self.permits.acquire(timeout=60)
        return super().forward(batch)

    def run_freely(self) -> None:
        self.is_free = True
        self.permits.release()


def idle(llm: LLM) -> bool:
    """Whether nothing is scheduled and all pages are free, as the engine's own thread sees it."""
    scheduler = llm.engine._scheduler
    num_free = llm._runner.call(lambda: scheduler._pool.num_free)
    return scheduler.is_empty and num_free == llm.engine.limits.num_pages


def of_one(completion: Completion | list[Completion]) -> Completion:
    assert isinstance(completion, Completion)
    return completion


def test_prompts_are_served_together_and_answered_in_order(llm: LLM) -> None:
    prompts: list[str | list[int]] = [prompt_of(9), "héllo", prompt_of(70, seed=1)]
    answers = [of_one(answer) for answer in llm.generate(prompts, GREEDY)]
    ids = [prompt_of(9), [BOS, *"héllo".encode()], prompt_of(70, seed=1)]
    assert [a.token_ids for a in answers] == [greedy_truth(prompt, 12) for prompt in ids]
    assert [a.finish_reason for a in answers] == ["length"] * 3
    model = llm.model
    assert isinstance(model, FakeModel)
    assert max(len(rows) for rows in model.batches) == 3
    assert llm.generate([], GREEDY) == []


@pytest.mark.parametrize("prompt", ["abc", [5, 6, 7], np.array([5, 6, 7])])
def test_a_lone_prompt_is_a_list_of_one(llm: LLM, prompt: str | list[int]) -> None:
    assert len(llm.generate(prompt, GREEDY)) == 1


def test_a_raw_text_gets_one_bos_if_the_tokenizer_adds_it(llm: LLM) -> None:
    assert llm.prepare("ab").prompt_ids == [BOS, 97, 98]
    assert llm.prepare("<s>ab").prompt_ids == [BOS, 97, 98]
    assert llm.prepare([97, 98]).prompt_ids == [97, 98]
    with open_llm(tokenizer=fake_tokenizer(adds_bos=False)) as plain:
        assert plain.prepare("ab").prompt_ids == [97, 98]
        with pytest.raises(BadRequest, match="the prompt is empty"):
            plain.prepare("")


def test_a_conversation_is_written_by_the_template_alone(llm: LLM) -> None:
    request = llm.prepare([{"role": "user", "content": "Hi"}])
    assert request.prompt_ids == [BOS, *b"user:Hi\nassistant:"]
    assert request.is_chat and not request.reasoning_open
    thinking = llm.prepare([{"role": "user", "content": "Hi"}], suffix="<think>\n")
    assert thinking.reasoning_open
    closed = llm.prepare([{"role": "user", "content": "Hi"}], None, add_generation_prompt=False)
    assert closed.prompt_ids == [BOS, *b"user:Hi\n"]


def test_chat_answers_with_text_and_thinking_apart() -> None:
    prompt = (BOS, *b"user:Hi\nassistant:")
    with open_llm(script={prompt: [THINK, *b"hm", END_THINK, *b"\n\nHello"]}) as llm:
        messages = [{"role": "user", "content": "Hi"}]
        answer = of_one(llm.chat(messages, SamplingParams(temperature=0)))
        assert (answer.reasoning, answer.text) == ("hm", "Hello")
        assert answer.token_ids[-1] == EOS and answer.finish_reason == "stop"
        parts = list(llm.chat(messages, SamplingParams(temperature=0), stream=True))
        assert "".join(p.text for p in parts) == "Hello"
        two = llm.chat(messages, SamplingParams(temperature=0, n=2))
        assert isinstance(two, list) and [c.text for c in two] == ["Hello", "Hello"]


def test_what_a_model_lacks_is_said() -> None:
    with open_llm(tokenizer=None, chat_template=None) as llm:
        assert of_one(llm.generate([[1, 2]], GREEDY)[0]).text == ""
        with pytest.raises(BadRequest, match="without a tokenizer; give it token ids"):
            llm.generate("text")
        with pytest.raises(BadRequest, match="without a tokenizer"):
            llm.tokenizer.encode("text")
        with pytest.raises(BadRequest, match="without a chat template"):
            llm.chat([{"role": "user", "content": "Hi"}])


def test_misuse_is_named(llm: LLM) -> None:
    with pytest.raises(BadRequest, match="enable_thinking: template variables need messages"):
        llm.prepare("text", GREEDY, enable_thinking=True)
    with pytest.raises(BadRequest, match="params is a dict; it must be SamplingParams"):
        llm.generate("text", {"temperature": 0})  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="list of whole numbers"):
        llm.generate([3.5])  # type: ignore[arg-type]
    for nonsense in (None, 7, [None], [[1], 5]):
        with pytest.raises(BadRequest, match="a prompt is a text or a list of token ids, not"):
            llm.generate(nonsense)  # type: ignore[arg-type]


def test_one_refused_prompt_starts_none(llm: LLM) -> None:
    with pytest.raises(DoesNotFit, match="prompt has 2000 tokens"):
        llm.generate([[1, 2], prompt_of(2000)], GREEDY)
    model = llm.model
    assert isinstance(model, FakeModel) and model.batches == []


def test_n_answers_come_as_a_list_for_each_prompt(llm: LLM) -> None:
    params = SamplingParams(temperature=1.5, seed=3, n=3, max_tokens=12, ignore_eos=True)
    answers = llm.generate([[1, 2], [3]], params)
    for entry in answers:
        assert isinstance(entry, list) and [c.index for c in entry] == [0, 1, 2]
        assert len({tuple(c.token_ids) for c in entry}) == 3


def test_log_probabilities_are_plain_dictionaries(llm: LLM) -> None:
    params = SamplingParams(temperature=0, max_tokens=3, ignore_eos=True, logprobs=1)
    answer = of_one(llm.generate([[1, 2]], params)[0])
    assert answer.logprobs is not None and len(answer.logprobs) == 3
    first = answer.logprobs[0]
    assert set(first) == {"id", "logprob", "top"}
    assert first["top"] == [(first["id"], first["logprob"])] and first["logprob"] < 0
    assert of_one(llm.generate([[1, 2]], GREEDY)[0]).logprobs is None


def test_a_stream_is_the_completion_in_pieces(llm: LLM) -> None:
    parts = list(llm.stream("Hello", GREEDY))
    assert all(isinstance(part, Increment) for part in parts)
    whole = of_one(llm.generate("Hello", GREEDY)[0])
    assert [i for part in parts for i in part.token_ids] == whole.token_ids
    assert "".join(part.text for part in parts) == whole.text
    assert [part.finish_reason for part in parts] == [None] * 11 + ["length"]


def test_a_refused_stream_raises_at_once(llm: LLM) -> None:
    with pytest.raises(BadRequest, match="the prompt is empty"):
        llm.stream([])


@pytest.mark.parametrize("ending", ["close", "with", "drop", "never read"])
def test_ending_a_stream_early_cancels_its_request(ending: str) -> None:
    model = Gated()
    with LLM(model, memory=100_000) as llm:
        stream = llm.stream([1, 2], ENDLESS)
        if ending != "never read":
            model.permits.release(2)
            next(stream)
            next(stream)
        if ending == "close":
            stream.close()
            stream.close()
            assert list(stream) == []
        elif ending == "with":
            with stream:
                pass
        else:
            del stream
            gc.collect()
        model.run_freely()
        assert idle(llm)
        assert len(model.batches) <= 4


def test_threads_are_served_together_each_with_its_own_answer() -> None:
    model = Gated()
    found: dict[int, list[int]] = {}

    def ask(llm: LLM, number: int) -> None:
        parts = llm.stream(prompt_of(20, seed=number), GREEDY)
        found[number] = [i for part in parts for i in part.token_ids]

    with LLM(model, memory=100_000) as llm:
        threads = [threading.Thread(target=ask, args=(llm, number)) for number in range(6)]
        for thread in threads:
            thread.start()
        model.run_freely()
        for thread in threads:
            thread.join()
        assert idle(llm)
    assert found == {number: greedy_truth(prompt_of(20, seed=number), 12) for number in range(6)}


def test_a_request_joins_a_running_one() -> None:
    model = Gated()
    with LLM(model, memory=100_000) as llm:
        first = llm.stream([1, 2], GREEDY)
        model.permits.release(1)
        next(first)
        second = llm.stream([3, 4], GREEDY)
        model.run_freely()
        assert len(list(first)) == 11 and len(list(second)) == 12
        assert [1, 1] in model.batches or [1, 2] in model.batches


@pytest.mark.parametrize("way", ["generate", "stream"])
def test_an_interrupt_cancels_what_was_submitted(way: str) -> None:
    model = Gated()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        model.has_begun.wait(60)
        signal.pthread_kill(main, signal.SIGINT)

    with LLM(model, memory=100_000) as llm:
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            if way == "generate":
                llm.generate([[1, 2], [3]], ENDLESS)
            else:
                list(llm.stream([1, 2], ENDLESS))
        interrupter.join()
        model.run_freely()
        assert idle(llm)
        assert of_one(llm.generate([[1, 2]], GREEDY)[0]).token_ids == greedy_truth([1, 2], 12)


def test_a_failing_engine_fails_every_request_and_says_so_afterwards() -> None:
    model = Gated()
    with LLM(model, memory=100_000) as llm:
        streams = [llm.stream([number], ENDLESS) for number in range(3)]
        model.error = RuntimeError("out of luck")
        model.run_freely()
        for stream in streams:
            with pytest.raises(EngineFailed, match="RuntimeError: out of luck"):
                list(stream)
            assert list(stream) == []
        calls: list[Callable[[], object]] = [
            lambda: llm.generate([[1]]),
            lambda: llm.stream([1]),
            lambda: llm.logits([1]),
            lambda: llm.prepare([1]),
        ]
        for call in calls:
            with pytest.raises(EngineFailed, match="out of luck"):
                call()


def test_closing_fails_what_is_open_and_refuses_what_comes_later() -> None:
    model = Gated()
    llm = LLM(model, memory=100_000)
    stream = llm.stream([1, 2], ENDLESS)
    assert model.has_begun.wait(60)
    closing = threading.Thread(target=llm.close)
    closing.start()
    model.run_freely()
    with pytest.raises(EngineFailed, match="closed while the request was running"):
        list(stream)
    closing.join()
    assert model.is_closed
    llm.close()
    for call in (lambda: llm.generate([[1]]), lambda: llm.logits([1])):
        with pytest.raises(EngineFailed, match="this model has been closed"):
            call()


def test_an_idle_engine_is_left_alone(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    llm.generate([[1, 2]], GREEDY)
    steps: list[Increment] = []

    def step() -> list[Increment]:
        steps.append(Increment("none", 0))
        return []

    monkeypatch.setattr(llm.engine, "step", step)
    threading.Event().wait(0.05)
    assert steps == []


def test_dropping_the_object_frees_model_and_thread() -> None:
    model = FakeModel()
    before = threading.active_count()
    llm = LLM(model, memory=100_000)
    assert threading.active_count() == before + 1
    del llm
    gc.collect()
    assert model.is_closed and threading.active_count() == before


def test_a_model_that_does_not_fit_is_closed_again() -> None:
    model = FakeModel()
    with pytest.raises(DoesNotFit):
        LLM(model, memory=1)
    assert model.is_closed


def test_logits_take_pages_from_running_requests_which_still_finish() -> None:
    model = Gated(config=FakeConfig(context_length=256))
    with LLM(model, memory=4 * model.page_bytes) as llm:
        prompt = prompt_of(150)
        stream = llm.stream(prompt, SamplingParams(temperature=0, max_tokens=40, ignore_eos=True))
        model.permits.release(15)
        head = [next(stream) for _ in range(3)]
        model.run_freely()
        ids = prompt_of(256, seed=9)
        assert np.array_equal(llm.logits(ids)[-1], logits_after(ids))
        found = [i for part in [*head, *stream] for i in part.token_ids]
        assert found == greedy_truth(prompt, 40)


def test_a_reference_is_resolved_by_the_store_and_a_path_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import wazn.models.load
    import wazn.weights.store

    opened: list[tuple[str, dict[str, Any]]] = []

    def load_model(path: Path, **options: Any) -> FakeModel:
        options.pop("listener").notify("rounded")
        opened.append((str(path), options))
        return FakeModel()

    class Store:
        def get(self, reference: str) -> Any:
            return type("Stored", (), {"path": Path("/store") / reference})

    monkeypatch.setattr(wazn.models.load, "load_model", load_model)
    monkeypatch.setattr(wazn.weights.store, "Store", Store)
    LLM("tiny", threads=2, precision="exact", kv="float32", weights="q8", pin=True).close()
    LLM(Path("tiny")).close()
    chosen = {"threads": 2, "precision": "exact", "kv": "float32", "weights": "q8", "pin": True}
    usual = {"threads": None, "precision": "fast", "kv": "auto", "weights": "native", "pin": None}
    assert opened == [
        ("/store/tiny", chosen),
        ("tiny", usual),
    ]
    assert caplog.messages == ["rounded", "rounded"]  # sentences for the user go to the logger


def test_sampled_answers_do_not_depend_on_the_company(llm: LLM) -> None:
    params = SamplingParams(temperature=1, top_p=0.9, seed=8, max_tokens=12, ignore_eos=True)
    prompts = [prompt_of(length, seed=length) for length in (3, 40, 90)]
    together = [of_one(answer).token_ids for answer in llm.generate(prompts, params)]
    assert together == [alone(prompt, params) for prompt in prompts]
