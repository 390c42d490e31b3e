"""Which prompt format a checkpoint gets: its own template, or the built-in one of its family."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.text.vocabularies import deepseek_directory
from wazn.models.text_parts import read_text_parts
from wazn.text.chat_template import ChatTemplate
from wazn.text.deepseek_encoding import DeepSeekV4, DeepSeekV32


def checkpoint(folder: Path, model_type: str, template: str = "") -> Any:
    """A directory with DeepSeek's tokenizer and perhaps a template."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(deepseek_directory() / name, folder / name)
    config = (folder / "tokenizer_config.json").read_text().replace('"chat_template"', '"unused"')
    (folder / "tokenizer_config.json").write_text(config)
    if template:
        (folder / "chat_template.jinja").write_text(template)
    metadata = {"model_type": model_type}
    return SimpleNamespace(
        is_gguf=False,
        metadata=metadata,
        path=folder,
        config=SimpleNamespace(vocab_size=129280),
    )


@pytest.mark.parametrize(
    ("model_type", "kind"), [("deepseek_v32", DeepSeekV32), ("deepseek_v4", DeepSeekV4)]
)
def test_a_family_without_a_template_gets_its_encoding(
    tmp_path: Path, model_type: str, kind: type
) -> None:
    parts = read_text_parts(checkpoint(tmp_path, model_type))
    assert parts.chat_template is not None and parts.tokenizer is not None
    assert type(parts.chat_template) is kind
    prompt = parts.chat_template.prompt([{"role": "user", "content": "<｜User｜>"}])
    user = parts.tokenizer.added_id("<｜User｜>")
    assert [id for id in parts.tokenizer.encode_prompt(prompt) if id == user] == [user]


def test_a_template_in_the_checkpoint_comes_first(tmp_path: Path) -> None:
    parts = read_text_parts(checkpoint(tmp_path, "deepseek_v32", "{{ messages[0].content }}"))
    assert isinstance(parts.chat_template, ChatTemplate)
    assert parts.chat_template.render([{"role": "user", "content": "Hi"}]) == "Hi"
    parts.chat_template.close()


def test_grok_2_gets_its_format_though_its_files_name_another_family(tmp_path: Path) -> None:
    files = checkpoint(tmp_path, "git")
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    separator = {**content["added_tokens"][-1], "id": 129280, "content": "<|separator|>"}
    content["added_tokens"].append(separator)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    parts = read_text_parts(files)
    assert isinstance(parts.chat_template, ChatTemplate)
    prompt = parts.chat_template.render([{"role": "user", "content": "Hi"}])
    assert prompt == "Human: Hi<|separator|>\n\nAssistant:"
    parts.chat_template.close()


def test_another_family_without_a_template_has_none(tmp_path: Path) -> None:
    assert read_text_parts(checkpoint(tmp_path, "deepseek_v3")).chat_template is None
