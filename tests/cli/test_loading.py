"""From a reference to a loaded model: what is fetched, and what a person is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command_line import Run
from tests.weights.build import valid_gguf
from tests.weights.hub_server import HubServer, Repository, running_hub
from wazn.cli.loading import fetch
from wazn.weights.sources import session


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(session, "BACKOFF_S", 0.0)
    with running_hub() as hub:
        monkeypatch.setenv("WAZN_HF_ENDPOINT", hub.url)
        hub.repositories["org/model"] = Repository({"m-Q4_0.gguf": valid_gguf().build()})
        yield hub


def test_a_first_use_says_what_is_downloaded_from_where_and_how_much(
    hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = fetch("hf:org/model:Q4_0")
    said = capsys.readouterr().err
    assert "downloading hf:org/model:Q4_0 from the Hugging Face Hub" in said
    assert f"m-Q4_0.gguf ({stored.files[0].size} bytes)" in said


def test_a_second_use_is_silent_and_asks_nobody(
    hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch("hf:org/model:Q4_0")
    hub.seen.clear()
    capsys.readouterr()
    fetch("hf:org/model:Q4_0")
    assert capsys.readouterr() == ("", "")
    assert hub.seen == []


def test_without_network_the_command_says_so_in_one_sentence(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BACKOFF_S", 0.0)
    monkeypatch.setenv("WAZN_HF_ENDPOINT", "http://127.0.0.1:9")
    outcome = wazn("chat", "hf:org/model:Q4_0", "-p", "x")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert "127.0.0.1" in outcome.stderr.splitlines()[-1]
    assert "Traceback" not in outcome.stderr


def test_a_family_that_is_not_supported_is_named(wazn: Run, tmp_path: Path) -> None:
    from tests.weights.build import GGUFFile, text

    path = tmp_path / "m.gguf"
    path.write_bytes(GGUFFile([text("general.architecture", "mamba")], []).build())
    outcome = wazn("chat", str(path), "-p", "x")
    assert outcome.status == 1
    assert "mamba" in outcome.stderr


def test_offline_nothing_is_announced_and_the_setting_is_named(
    wazn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAZN_OFFLINE", "1")
    outcome = wazn("chat", "smollm2", "-p", "x")
    assert outcome.status == 1
    assert "--offline" in outcome.stderr
    assert "downloading" not in outcome.stderr
