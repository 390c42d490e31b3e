"""Conversations rendered by the models' own templates."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.text.vocabularies import SPECIALS, qwen_metadata, small_tokenizer_json
from wazn.errors import BadFile, BadRequest, BadTemplate
from wazn.text.chat_template import MAX_TEMPLATE_CHARACTERS, ChatTemplate, require_template
from wazn.text.tokenizer import Tokenizer

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
USER = {"role": "user", "content": "Hé 👍"}
CLOCK = {"type": "function", "function": {"name": "clock"}}
ANSWER = {"role": "assistant", "content": "Hi."}


class Renderer:
    """Renders with one helper process per test, and ends it."""

    def __init__(self) -> None:
        self.templates: list[ChatTemplate] = []

    def __call__(self, source: Any, *args: Any, **variables: Any) -> str:
        template = (
            source if isinstance(source, ChatTemplate) else ChatTemplate(source, "<s>", "</s>")
        )
        self.templates.append(template)
        return template.render(*(args or ([USER],)), **variables)


@pytest.fixture
def render() -> Iterator[Renderer]:
    renderer = Renderer()
    yield renderer
    for template in renderer.templates:
        template.close()


def test_a_conversation_becomes_the_prompt(render: Renderer) -> None:
    template = ChatTemplate(CHATML)
    assert render(template, [USER, ANSWER, USER]) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n"
        "<|im_start|>user\nHé 👍<|im_end|>\n<|im_start|>assistant\nHi.<|im_end|>\n"
        "<|im_start|>user\nHé 👍<|im_end|>\n<|im_start|>assistant\n"
    )
    system = {"role": "system", "content": "x"}
    assert render(template, [system], add_generation_prompt=False) == (
        "<|im_start|>system\nx<|im_end|>\n"
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ bos_token }}{{ eos_token }}{{ unknown_variable }}", "<s></s>"),
        ("a\n  {% if true %}\nb\n  {% endif %}\nc", "a\nb\nc"),
        ("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}"
         "{% break %}{% endif %}{{ i }}{% endfor %}", "02"),
        ("{% generation %}a{% set x = 1 %}{% endgeneration %}{{ x }}", "a"),
        ("{{ messages | tojson }}", '[{"content": "Hé 👍", "role": "user"}]'),
        ("{{ {'b': 1, 'a': '<é>'} | tojson }}", '{"b": 1, "a": "<é>"}'),
        ("{{ {'b': [1]} | tojson(indent=2) }}", '{\n  "b": [\n    1\n  ]\n}'),
        ("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) }}",
         '{"a":2,"b":1}'),
        ("{{ 'é' | tojson(ensure_ascii=true) }}", r'"\u00e9"'),
        ("{{ tools is none }}{{ documents is none }}", "TrueTrue"),
        ("{{ messages[0].content }}{{ messages[0]['role'] }}", "Hé 👍user"),
        ("{%- set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
         "{% endfor %}{{ ns.n }}", "1"),
        ("{{ messages | pprint }}", "[{'content': 'Hé 👍', 'role': 'user'}]"),
        ("{{ 'a<b>' }}", "a<b>"),
        ("x\n", "x"),
    ],
)  # fmt: skip
def test_templates_speak_the_dialect_of_hugging_face(
    render: Renderer, source: str, expected: str
) -> None:
    if "tojson }}" in source and "messages" in source:
        expected = json.dumps([USER], ensure_ascii=False)
    assert render(source) == expected


def test_variables_tools_and_documents_reach_the_template(render: Renderer) -> None:
    source = "{{ enable_thinking }} {{ tools[0].function.name }} {{ documents[0].title }} {{ n }}"
    tools, documents = [CLOCK], [{"title": "T"}]
    variables = {"enable_thinking": False, "n": 3}
    assert render(source, [USER], True, tools, documents, **variables) == "False clock T 3"


def test_the_time_can_be_asked_for(render: Renderer) -> None:
    before = datetime.now().strftime("%Y-%m-%d")
    text = render("{{ strftime_now('%Y-%m-%d') }}")
    assert text in (before, datetime.now().strftime("%Y-%m-%d"))


def test_requests_with_tools_use_the_template_for_tools(render: Renderer) -> None:
    template = ChatTemplate({"default": "plain", "tool_use": "tools"})
    assert render(template) == "plain"
    assert render(template, [USER], tools=[CLOCK]) == "tools"
    assert render("plain", [USER], tools=[CLOCK]) == "plain"


def test_the_template_refuses_in_its_own_words(render: Renderer) -> None:
    source = "{{ raise_exception('Roles must alternate\x1b[31m\nplease') }}"
    with pytest.raises(BadTemplate, match=r"refused the conversation: Roles must alternate \[31m"):
        render(source)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("a\n{% if %}", "failed: line 2: Expected an expression"),
        ("{{ messages[7].content.text }}", "failed: list object has no element 7"),
        ("{{ 'a' + 1 }}", "failed: can only concatenate str"),
        ("{{ messages | nofilter }}", "failed: line 1: No filter named 'nofilter'"),
        ("{% include 'x' %}", "failed: no loader"),
    ],
)
def test_a_template_that_fails_says_why(render: Renderer, source: str, named: str) -> None:
    with pytest.raises(BadTemplate, match=named):
        render(source)


def test_malformed_messages_never_reach_the_template(render: Renderer) -> None:
    with pytest.raises(BadRequest, match="messages is empty"):
        render("x", [])
    with pytest.raises(BadRequest, match="are no JSON"):
        render("x", [USER], when=datetime.now())


def test_a_model_without_template_is_sent_to_run() -> None:
    with pytest.raises(BadRequest, match=r"no chat template.*`wazn run`"):
        require_template(None)
    template = ChatTemplate("x")
    assert require_template(template) is template


def test_a_template_over_its_size_is_refused() -> None:
    with pytest.raises(BadTemplate, match=f"more than {MAX_TEMPLATE_CHARACTERS}"):
        ChatTemplate("x" * (MAX_TEMPLATE_CHARACTERS + 1))


def test_named_templates_without_default_are_named(render: Renderer) -> None:
    with pytest.raises(BadTemplate, match=re.escape("['rag'], but none named default")):
        render({"rag": "x"})


@pytest.mark.parametrize("files", [["jinja", "config"], ["config"], ["legacy"], ["list"], []])
def test_a_directory_keeps_its_template_in_one_of_several_places(
    tmp_path: Path, render: Renderer, files: list[str]
) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(small_tokenizer_json()))
    config: dict[str, Any] = {"bos_token": "<s>"}
    if "config" in files:
        config["chat_template"] = "config" if "jinja" in files else "{{ bos_token }}é"
    if "list" in files:
        named = {"default": "{{ bos_token }}é", "rag": "x"}
        config["chat_template"] = [{"name": n, "template": t} for n, t in named.items()]
    if "legacy" in files:
        legacy = json.dumps({"chat_template": "{{ bos_token }}é"})
        (tmp_path / "chat_template.json").write_text(legacy)
    if "jinja" in files:
        (tmp_path / "chat_template.jinja").write_text("{{ bos_token }}é")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    template = ChatTemplate.from_directory(tmp_path, Tokenizer.from_directory(tmp_path))
    assert (None if template is None else render(template)) == ("<s>é" if files else None)


@pytest.mark.parametrize("value", [7, [], [{"name": "default"}], [{"name": 1, "template": "x"}]])
def test_a_template_that_is_neither_text_nor_list_is_a_bad_file(tmp_path: Path, value: Any) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": value}))
    with pytest.raises(BadFile, match="chat_template is neither"):
        ChatTemplate.from_directory(tmp_path, None)


def test_gguf_metadata_hold_the_templates_by_name(render: Renderer) -> None:
    metadata = qwen_metadata("qwen2")
    tokenizer = Tokenizer.from_gguf(metadata)
    assert ChatTemplate.from_gguf(metadata, tokenizer) is None
    metadata["tokenizer.chat_template"] = "{{ bos_token }}{{ eos_token }}"
    metadata["tokenizer.chat_template.tool_use"] = "tools"
    template = ChatTemplate.from_gguf(metadata, tokenizer)
    assert template is not None
    assert render(template) == SPECIALS[0] + SPECIALS[2]
    assert render(template, [USER], tools=[]) == "tools"
    with pytest.raises(BadFile, match="chat_template is neither"):
        ChatTemplate.from_gguf({"tokenizer.chat_template": 5}, tokenizer)
