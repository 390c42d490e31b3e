"""One answer: what is asked, what is printed, and where."""

import json
import os
import subprocess

import pytest

from tests.cli.command_line import Pipe, Run
from tests.cli.fakes import PARIS, Reply, install
from tests.cli.terminal import FAKE_WAZN, Terminal


def test_only_the_answer_goes_to_stdout(wazn: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opening = install(monkeypatch, Reply(reasoning="Let me think."))
    assert wazn("chat", "-p", "What is the capital of France?") == (0, PARIS + "\n", "")
    assert opening.model == "smollm2"
    assert opening.llm.prompts == [[{"role": "user", "content": "What is the capital of France?"}]]


def test_arabic_is_printed_as_it_is(wazn: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Reply("عاصمة فرنسا هي باريس."))
    assert wazn("chat", "-p", "ما عاصمة فرنسا؟").stdout == "عاصمة فرنسا هي باريس.\n"


def test_a_model_a_system_message_and_parameters_are_passed_on(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = install(monkeypatch)
    sampling = ["--max-tokens", "7", "--temperature", "0.5", "--top-k", "3", "--top-p", "0.9"]
    sampling += ["--seed", "42", "--stop", "A", "--stop", "B"]
    loading = ["--threads", "2", "--context", "512", "--memory", "1.5G", "--precision", "exact"]
    loading += ["--weights", "q4"]
    wazn("chat", "qwen3-0.6b", "-p", "x", "--system", "Be brief.", *sampling, *loading)
    params = opening.llm.params[0]
    assert (params.max_tokens, params.temperature, params.top_k, params.top_p) == (7, 0.5, 3, 0.9)
    assert (params.seed, params.stop) == (42, ("A", "B"))
    options = opening.options
    assert (options.threads, options.context, options.memory) == (2, 512, 1_500_000_000)
    assert (options.precision, options.kv, options.weights) == ("exact", "auto", "q4")
    assert opening.model == "qwen3-0.6b"
    assert opening.llm.prompts[0][0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("flags", "variables"),
    [
        ([], {}),
        (["--thinking"], {"enable_thinking": True}),
        (["--no-thinking"], {"enable_thinking": False}),
    ],
)
def test_thinking_is_a_variable_of_the_template(
    wazn: Run, monkeypatch: pytest.MonkeyPatch, flags: list[str], variables: dict[str, bool]
) -> None:
    opening = install(monkeypatch)
    wazn("chat", "-p", "x", *flags)
    assert opening.llm.variables == [variables]


def test_a_thinking_budget_is_a_parameter(wazn: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opening = install(monkeypatch)
    wazn("chat", "-p", "x", "--thinking-budget", "0")
    assert opening.llm.params[0].thinking_budget == 0
    status, _, error = wazn("chat", "-p", "x", "--thinking-budget", "-1")
    assert status == 2
    assert "thinking_budget is -1; it must be a whole number of at least 0 (see" in error


def test_an_empty_system_message_is_not_the_same_as_none(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = install(monkeypatch)
    wazn("chat", "-p", "x", "--system", "")
    assert opening.llm.prompts[0][0] == {"role": "system", "content": ""}


def test_a_suggested_system_message_is_used_unless_one_is_given(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = install(monkeypatch)
    opening.llm.suggested_system = "Be clear."
    wazn("chat", "-p", "x")
    assert opening.llm.prompts[0][0] == {"role": "system", "content": "Be clear."}
    wazn("chat", "-p", "x", "--system", "Be funny.")
    assert opening.llm.prompts[1][0] == {"role": "system", "content": "Be funny."}


def test_piped_text_is_added_to_the_prompt(
    wazn: Run, monkeypatch: pytest.MonkeyPatch, pipe: Pipe
) -> None:
    opening = install(monkeypatch)
    pipe("\ufeffعن الميزان\r\n".encode())
    wazn("chat", "-p", "Summarise")
    assert opening.llm.prompts[0][0]["content"] == "Summarise\n\nعن الميزان"


def test_piped_text_alone_is_answered_once(
    wazn: Run, monkeypatch: pytest.MonkeyPatch, pipe: Pipe
) -> None:
    opening = install(monkeypatch)
    pipe(b"hello\n")
    assert wazn("chat").stdout == PARIS + "\n"
    assert opening.llm.prompts[0][0]["content"] == "hello"


def test_json_has_the_whole_completion(wazn: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Reply("Paris, باريس", reasoning="Hm."))
    outcome = wazn("chat", "-p", "x y", "--json")
    assert "باريس" in outcome.stdout
    assert outcome.stdout.count("\n") == 1
    completion = json.loads(outcome.stdout)
    assert completion["model"] == "smollm2"
    assert (completion["text"], completion["reasoning"]) == ("Paris, باريس", "Hm.")
    assert completion["finish_reason"] == "stop"
    assert completion["token_ids"] == [0, 1, 2]
    assert completion["usage"]["prompt_tokens"] == 2


@pytest.mark.parametrize("arguments", [[], ["-p", ""], ["-p", " \n"]])
def test_nothing_to_answer_is_an_error(
    wazn: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    install(monkeypatch)
    outcome = wazn("chat", *arguments)
    assert (outcome.status, outcome.stdout) == (1, "")
    assert "give -p TEXT" in outcome.stderr


def test_a_prompt_in_the_model_s_place_is_recognised(wazn: Run) -> None:
    outcome = wazn("chat", "What is the capital of France?")
    assert outcome.status == 1
    assert "a prompt goes after -p" in outcome.stderr


def test_an_unknown_model_gets_a_suggestion(wazn: Run) -> None:
    outcome = wazn("chat", "smolm2", "-p", "x")
    assert outcome.status == 1
    assert "did you mean 'smollm2'?" in outcome.stderr


def test_a_path_that_does_not_exist_is_named(wazn: Run) -> None:
    outcome = wazn("chat", "./nothing/model.gguf", "-p", "x")
    assert outcome.status == 1
    assert "nothing/model.gguf" in outcome.stderr


def test_a_prompt_longer_than_the_context_is_an_error_with_both_numbers(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, context=8)
    outcome = wazn("chat", "-p", "word " * 9)
    assert (outcome.status, outcome.stdout) == (1, "")
    assert outcome.stderr == "wazn: prompt has 9 tokens; this model's context is 8.\n"


def test_an_interrupt_ends_the_line_and_the_program(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = install(monkeypatch, Reply("The capital", error=KeyboardInterrupt()))
    assert wazn("chat", "-p", "x") == (130, "The capital\n", "")
    assert opening.llm.streams[0].is_closed


def test_an_interrupt_prints_no_half_json(wazn: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Reply("The capital", error=KeyboardInterrupt()))
    assert wazn("chat", "-p", "x", "--json") == (130, "", "")


def test_each_increment_is_flushed_as_it_comes() -> None:
    with subprocess.Popen(
        [*FAKE_WAZN, "0.2", "chat", "-p", "x"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 100) == b"The "


def test_thinking_is_dimmed_on_a_terminal() -> None:
    with Terminal([*FAKE_WAZN, "0", "chat", "-p", "x"]) as terminal:
        assert terminal.wait_for_exit() == 0
    assert terminal.raw == f"\x1b[2mLet me think.\x1b[0m\r\n\r\n{PARIS}\r\n"


def test_thinking_is_marked_with_words_where_colours_are_unwanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with Terminal([*FAKE_WAZN, "0", "chat", "-p", "x"]) as terminal:
        assert terminal.wait_for_exit() == 0
    assert terminal.raw == f"(thinking) Let me think.\r\n\r\n{PARIS}\r\n"


def test_ctrl_c_ends_one_answer_with_status_130() -> None:
    with Terminal([*FAKE_WAZN, "0.5", "chat", "-p", "x"]) as terminal:
        terminal.wait_for("The ")
        terminal.type("\x03")
        assert terminal.wait_for_exit() == 130
    assert "Traceback" not in terminal.shown
    assert "Paris" not in terminal.shown
