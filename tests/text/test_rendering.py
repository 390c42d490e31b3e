"""The makers' templates rendered here and by transformers, and read back by the parsers.

``prompts.json`` was made by ``tests.golden.make_prompts``; clients' messages go in as the API has
them, the prompt has to come out to the letter.
"""

import json
from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.golden.conversations import CALLS, FOLDER, TEMPLATES, TOOLS
from wazn.errors import BadRequest
from wazn.text.answers.events import CallEvent, ContentDelta, joined_calls
from wazn.text.answers.parser import AnswerParser
from wazn.text.chat_template import ChatTemplate
from wazn.text.families import detect_family, thinking_variables
from wazn.text.tools import check_tools, schemas_of

PROMPTS = json.loads((FOLDER / "prompts.json").read_text())
CASES = [(name, case) for name, template in TEMPLATES.items() for case in template.cases()]
FAMILIES = {
    "smollm2": "plain", "ernie4.5": "plain", "llama3.1": "llama3", "llama3.2": "llama3",
    "mistral-nemo": "mistral", "ministral3": "mistral", "qwen2.5": "hermes", "qwq": "hermes",
    "qwen3": "hermes", "qwen3-coder": "qwen-tags", "qwen3.5": "qwen-tags",
    "deepseek-r1": "deepseek", "deepseek-v3.1": "deepseek", "seed-oss": "seed-oss",
    "gpt-oss": "gpt-oss",
}  # fmt: skip


@pytest.fixture(scope="module")
def templates() -> Iterator[dict[str, ChatTemplate]]:
    rendered = {
        name: ChatTemplate(
            (FOLDER / "templates" / f"{name}.jinja").read_text(), template.bos, template.eos
        )
        for name, template in TEMPLATES.items()
    }
    yield rendered
    for template in rendered.values():
        template.close()


def source(name: str) -> str:
    return (FOLDER / "templates" / f"{name}.jinja").read_text()


@pytest.mark.parametrize(("name", "case"), CASES)
def test_prompts_are_those_of_transformers(
    templates: dict[str, ChatTemplate], name: str, case: str
) -> None:
    messages, variables = TEMPLATES[name].cases()[case]
    text = templates[name].render(messages, **variables)
    assert text.replace(f"{datetime.now():%Y-%m-%d}", "DATE") == PROMPTS[name][case]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_family_is_known_by_its_template(name: str) -> None:
    assert detect_family(None, source(name)).name == FAMILIES[name]


@pytest.mark.parametrize("name", [name for name in TEMPLATES if TEMPLATES[name].tools])
def test_a_call_is_read_back_from_what_the_template_wrote(name: str) -> None:
    before, after = PROMPTS[name]["tools"], PROMPTS[name]["call"]
    family = detect_family(None, source(name))
    # Where the template writes an answer differently from how it asks for one (thinking that is
    # left out, say), reading begins at the first letter that differs.
    length = next(
        (at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]),
        min(len(before), len(after)),
    )
    marker = after[:length].rfind("<")
    length = marker if ">" not in after[marker:length] else length
    if name == "mistral-nemo":  # repeats the tools before the newest question
        length = after.index("[TOOL_CALLS]")
    opened = family.thinking.is_opened_by(after[:length])
    answer = after[length:]
    for stop in ("<|im_end|>", "</s>", "<｜end▁of▁sentence｜>", "<seed:eos>", "<|eot_id|>"):
        answer = answer.rstrip().removesuffix(stop)
    parser = AnswerParser(family, opened=opened, tools=schemas_of(check_tools(TOOLS)))
    events = parser.push(answer) + parser.finish()
    found = joined_calls(event for event in events if isinstance(event, CallEvent))
    expected = CALLS[: 2 if TEMPLATES[name].parallel else 1]
    assert [(one.name, json.loads(one.arguments), one.error) for one in found] == [
        (call, arguments, None) for _, call, arguments in expected
    ]
    assert "".join(one.text for one in events if isinstance(one, ContentDelta)).strip() == ""


@pytest.mark.parametrize(
    ("name", "off", "on"),
    [
        ("qwen3", {"enable_thinking": False}, {"enable_thinking": True}),
        ("qwen3.5", {"enable_thinking": False}, {"enable_thinking": True}),
        ("deepseek-v3.1", {"thinking": False}, {"thinking": True}),
        ("seed-oss", {"thinking_budget": 0}, {}),
    ],
)
def test_thinking_is_switched_as_each_template_wants(
    name: str, off: dict[str, object], on: dict[str, object]
) -> None:
    family = detect_family(None, source(name))
    assert thinking_variables(family, source(name), on=False) == off
    assert thinking_variables(family, source(name), on=True) == on


@pytest.mark.parametrize("name", ["qwen2.5", "deepseek-r1", "gpt-oss", "llama3.2", "ernie4.5"])
def test_a_template_without_a_switch_says_so(name: str) -> None:
    with pytest.raises(BadRequest, match="no switch for thinking"):
        thinking_variables(detect_family(None, source(name)), source(name), on=False)
