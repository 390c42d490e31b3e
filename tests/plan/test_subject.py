"""What a reference is planned as: a path, a known model, a stored one, or a repository's config."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.golden.build import tiny_directory, tiny_gguf
from tests.golden.catalogue import LLAMA, QWEN3
from tests.weights.hub_server import Repository, running_hub, settings_for
from wazn.errors import BadFile, BadRequest, FetchError, ModelNotFound
from wazn.plan.known import known_models
from wazn.plan.subject import Subject, find_subject
from wazn.settings import Settings, load_settings

QWEN_8B = dict(known_models()["qwen3-8b"].config)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(flags={"home": str(tmp_path / "home")}, environ={})


def _find(text: str, settings: Settings, format: str | None = None) -> Subject:
    announced: list[str] = []
    found = find_subject(text, format, settings, announced.append)
    assert not announced, "no network is needed"
    return found


def _write(path: Path, values: dict[str, Any]) -> str:
    path.write_text(json.dumps(values), encoding="utf-8")
    return str(path)


def test_a_known_model_needs_no_network(settings: Settings) -> None:
    found = _find("DeepSeek-V3", settings)
    assert (found.name, found.format) == ("deepseek-v3", "FP8")
    assert found.source.startswith("https://")
    assert found.published


def test_an_alias_that_is_not_here_is_taken_from_the_table(settings: Settings) -> None:
    assert _find("smollm2", settings, "Q4_0").shape.parameters == 134_515_008


def test_a_configuration_and_its_directory_are_the_same_model(
    tmp_path: Path, settings: Settings
) -> None:
    config = _write(tmp_path / "config.json", QWEN_8B)
    assert _find(config, settings).shape == _find(str(tmp_path), settings).shape
    assert _find(config, settings).format == "BF16"
    assert _find(config, settings, "q4_k_m").format == "Q4_K_M"


def test_a_checkpoint_of_safetensors_is_planned_from_its_configuration(
    tmp_path: Path, settings: Settings
) -> None:
    folder = tiny_directory(QWEN3, tmp_path / "tiny")
    assert _find(str(folder), settings, "F32").shape.family == "qwen3"


def test_a_gguf_file_has_its_own_format(tmp_path: Path, settings: Settings) -> None:
    path = tiny_gguf(LLAMA, tmp_path / "tiny.gguf")
    assert _find(str(path), settings).format == "the file's own"
    with pytest.raises(BadRequest, match="leave --format out"):
        _find(str(path), settings, "Q4_0")


def test_a_configuration_without_a_dtype_needs_a_format(tmp_path: Path, settings: Settings) -> None:
    values = {key: value for key, value in QWEN_8B.items() if key != "torch_dtype"}
    config = _write(tmp_path / "config.json", values)
    with pytest.raises(BadRequest, match="does not say which format"):
        _find(config, settings)
    assert _find(config, settings, "BF16").format == "BF16"


def test_a_hostile_configuration_is_refused(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(BadFile, match="JSON"):
        _find(str(tmp_path / "config.json"), settings)
    (tmp_path / "config.json").write_text(" " * (5 << 20))
    with pytest.raises(BadRequest, match="is larger than"):
        _find(str(tmp_path / "config.json"), settings)


def test_a_directory_without_a_configuration_is_refused(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFound):
        _find(str(tmp_path / "empty"), settings)


WEIGHTS = b"not to be fetched" * 1000


def test_of_a_repository_only_the_configuration_is_fetched(tmp_path: Path) -> None:
    files = {
        "config.json": json.dumps(QWEN_8B).encode(),
        "model.safetensors": WEIGHTS,
        "tokenizer.json": b"{}",
    }
    announced: list[str] = []
    with running_hub() as hub:
        hub.repositories["lab/big"] = Repository(files)
        settings = settings_for(tmp_path / "home", hub.url)
        found = find_subject("hf:lab/big", None, settings, announced.append)
        fetched = [seen.path for seen in hub.content_requests()]
    assert announced == ["hf:lab/big"]
    assert [path.rsplit("/", 1)[-1] for path in fetched] == ["config.json"]
    assert found.shape.parameters == 8_190_735_360
    assert not (tmp_path / "home" / "models").exists()


def test_a_repository_of_gguf_files_has_no_configuration(tmp_path: Path) -> None:
    with running_hub() as hub:
        hub.repositories["lab/gguf"] = Repository({"model-Q4_0.gguf": WEIGHTS})
        settings = settings_for(tmp_path / "home", hub.url)
        with pytest.raises(ModelNotFound, match=r"has no config\.json"):
            find_subject("hf:lab/gguf", None, settings, lambda text: None)


def test_without_the_network_a_repository_cannot_be_planned(tmp_path: Path) -> None:
    settings = replace(settings_for(tmp_path / "home", "http://127.0.0.1:9"), offline=True)
    with pytest.raises(FetchError, match="offline"):
        find_subject("hf:lab/big", None, settings, lambda text: None)
