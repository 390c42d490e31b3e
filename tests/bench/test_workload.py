from hypothesis import given
from hypothesis import strategies as st

from wazn.bench.workload import DECODED_TOKENS, KINDS, PROMPT_TOKENS, Task

tasks = st.builds(Task, kind=st.sampled_from(KINDS), users=st.integers(1, 8))


@given(tasks, st.integers(0, 20), st.integers(1, 50_000))
def test_every_user_gets_a_prompt_of_the_stated_length(
    task: Task, pair: int, vocab_size: int
) -> None:
    prompts = task.prompts(pair, vocab_size)
    assert [len(prompt) for prompt in prompts] == [PROMPT_TOKENS[task.kind]] * task.users
    assert all(0 <= token_id < vocab_size for prompt in prompts for token_id in prompt)


@given(tasks, st.integers(0, 20))
def test_contenders_of_one_pair_get_the_same_prompts(task: Task, pair: int) -> None:
    assert task.prompts(pair, 50_000) == task.prompts(pair, 50_000)


def test_no_prompt_comes_twice_in_a_run() -> None:
    prompts = [
        tuple(prompt)
        for users in (1, 8)
        for kind in KINDS
        for pair in range(5)
        for prompt in Task(kind, users).prompts(pair, 50_000)
    ]
    assert len(set(prompts)) == len(prompts)


def test_rates_count_prompt_tokens_in_prefill_and_new_ones_in_decode() -> None:
    assert Task("prefill", 8).num_tokens == 8 * 512
    assert Task("decode", 8).num_tokens == 8 * DECODED_TOKENS
