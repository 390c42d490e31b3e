"""``wazn observe`` over services of our own: what it prints, refuses and leaves behind."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command_line import Run
from tests.weigh.services import HTML, Reply, Services, repository, running_services
from wazn.weigh.sources import client

SERIES = "date,model,region_guess,pulls_cumulative_rounded\n2025-07-17,a,us,500000\n"


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    pace = client.Pace
    monkeypatch.setattr(client, "Pace", lambda say: pace(lambda seconds: None, say=say))
    with running_services() as services:
        for name in ("HF", "MS", "OLLAMA", "OPENROUTER"):
            monkeypatch.setenv(f"WAZN_{name}_ENDPOINT", services.url)
        monkeypatch.setenv("WAZN_GENAI_PRICES_ADDRESS", f"{services.url}/genai.json")
        monkeypatch.setenv("WAZN_LITELLM_PRICES_ADDRESS", f"{services.url}/litellm.json")
        services.hub = [
            repository("Qwen/Qwen3-0.6B", 21_952_078),
            repository("Qwen/odd", "many"),
        ]
        yield services


def test_a_capture_says_what_came_and_what_was_wrong(wazn: Run, services: Services) -> None:
    done = wazn("observe", "hub", "--publisher", "Qwen")
    assert done.status == 0
    first, fault = done.stdout.splitlines()
    assert "1 entities, 8 rows, 8 of them new; 1 requests" in first
    assert fault.startswith("  wrong type: Qwen, entry 2: Expected `int`, got `str`")
    assert f"wazn: asking Hugging Face at {services.url}" in done.stderr


def test_a_capture_in_json_has_every_fault_and_where_the_record_is(
    wazn: Run, services: Services
) -> None:
    done = wazn("observe", "hub", "--publisher", "Qwen", "--json")
    summary = json.loads(done.stdout)
    assert (summary["source"], summary["entities"], summary["new_rows"]) == ("hub", 1, 8)
    assert [fault["kind"] for fault in summary["faults"]] == ["wrong type"]
    assert Path(summary["record"]).is_file()


def test_without_a_publisher_all_known_ones_are_asked_for(wazn: Run, services: Services) -> None:
    done = wazn("observe", "hub", "--json")
    assert json.loads(done.stdout)["requests"] == len(services.seen) > 100
    assert "request 26 of" in done.stderr


def test_all_catalogues_of_prices_are_asked(wazn: Run, services: Services) -> None:
    priced = {"input_mtok": 1, "output_mtok": 2}
    services.genai = [{"id": "openai", "models": [{"id": "gpt-x", "prices": priced}]}]
    cost = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "mode": "chat"}
    services.litellm = {"openai/gpt-x": cost}
    services.router_models = [
        {"id": "openai/gpt-x", "pricing": {"prompt": "0.000001", "completion": "0.000002"}}
    ]
    done = wazn("observe", "prices", "--json")
    assert done.status == 0
    assert [one["source"] for one in json.loads(done.stdout)] == [
        *("genai-prices", "litellm-prices", "openrouter-prices"),
    ]


def test_a_catalogue_that_is_down_is_no_reason_to_miss_the_others(
    wazn: Run, services: Services
) -> None:
    services.router_models = [
        {"id": "openai/gpt-x", "pricing": {"prompt": "0.000001", "completion": "0.000002"}}
    ]
    services.always[".json"] = HTML
    done = wazn("observe", "prices")
    assert done.status == 1
    assert done.stdout.startswith("openrouter-prices, ")
    assert "genai-prices answered" in done.stderr and "litellm answered" in done.stderr


@pytest.mark.parametrize("command", ["hub", "modelscope", "ollama", "openrouter", "prices"])
def test_offline_is_refused_by_name(
    wazn: Run, services: Services, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("WAZN_OFFLINE", "1")
    done = wazn("observe", command)
    assert done.status == 1
    assert f"'wazn observe {command}' asks a public service, which being offline" in done.stderr
    assert services.seen == []


@pytest.mark.parametrize("command", ["hub", "ollama", "prices"])
def test_a_service_that_answers_nonsense_is_one_sentence_and_status_1(
    wazn: Run, services: Services, command: str
) -> None:
    for part in ("/api/models", "/library", ".json"):
        services.always[part] = HTML if part != "/library" else Reply(body=b"{}")
    done = wazn("observe", command, *(["--publisher", "Qwen"] if command == "hub" else []))
    assert done.status == 1 and done.stdout == ""
    assert "nothing was stored" in done.stderr and "Traceback" not in done.stderr


def test_import_list_and_faults_work_offline(
    wazn: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAZN_OFFLINE", "1")
    path = tmp_path / "pulls.csv"
    path.write_text(SERIES + "2025-07-18,a,us,600000\n2025-07-19,a,us,100\n")
    done = wazn("observe", "import", str(path))
    assert "Ollama pulls by model, 2025-07-17 to 2025-07-19: 3 rows, 3 of them new" in done.stdout
    header, line = wazn("observe", "list").stdout.splitlines()
    assert line.split() == [
        *("ollama-models-registry", "ollama-library", "pulls", "2025-07-17", "2025-07-19"),
        *("3", "3"),
    ]
    assert header.split()[:3] == ["source", "definition", "metric"]
    (listed,) = json.loads(wazn("observe", "list", "--json").stdout)
    assert (listed["rows"], listed["first"]) == (3, "2025-07-17")
    (fault,) = json.loads(wazn("observe", "faults", "--json").stdout)
    assert (fault["kind"], fault["entity"]) == ("falling counter", "ollama:a")
    assert "600,000 → 100" in wazn("observe", "faults").stdout


def test_an_empty_store_says_so(wazn: Run) -> None:
    assert "Nothing has been observed yet" in wazn("observe", "list").stdout
    assert wazn("observe", "faults").stdout == "No faults are known.\n"
    assert json.loads(wazn("observe", "list", "--json").stdout) == []


def test_what_excludes_each_other_is_a_usage_error(wazn: Run, services: Services) -> None:
    assert wazn("observe", "hub", "--top", "5", "--publisher", "Qwen").status == 2
    assert wazn("observe", "hub", "--top", "5", "--everything").status == 2
    assert wazn("observe", "openrouter", "--since", "2025-01-01").status == 2
    assert services.seen == []
