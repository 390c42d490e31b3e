"""ModelScope, Ollama, OpenRouter and the price catalogues, in their own shapes and with faults."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.weigh.capturing import MORNING, Observer
from tests.weigh.services import (
    CONCEALED,
    HTML,
    Reply,
    Services,
    library,
    running_services,
    settings_of,
)
from wazn.errors import FetchError
from wazn.weigh.faults import FaultKind
from wazn.weigh.price_history import known_rows
from wazn.weigh.prices import PriceRow
from wazn.weigh.sources import modelscope
from wazn.weigh.sources.genai_prices import GenaiPrices
from wazn.weigh.sources.litellm_prices import LitellmPrices
from wazn.weigh.sources.modelscope import ModelScope
from wazn.weigh.sources.ollama import Ollama, unrounded
from wazn.weigh.sources.openrouter import OpenRouter, windows
from wazn.weigh.sources.openrouter_prices import OpenRouterPrices

TODAY = date(2026, 11, 26)


@pytest.fixture
def services() -> Iterator[Services]:
    with running_services() as services:
        yield services


@pytest.fixture
def observer(tmp_path: Path) -> Observer:
    return Observer(tmp_path)


def model(name: str, downloads: object, **more: object) -> dict[str, object]:
    """One model as ModelScope lists it."""
    return {
        "id": name,
        "display_name": name,
        "downloads": downloads,
        "likes": 12,
        "license": "Apache License 2.0",
        "created_at": "2025-04-27T12:00:00Z",
        "tasks": ["text-generation"],
        **more,
    }


def test_modelscope_is_read_page_by_page(services: Services, observer: Observer) -> None:
    services.modelscope["Qwen"] = [model(f"Qwen/m{n}", 1000 - n) for n in range(250)]
    settings = settings_of(services, observer.home)
    summary = observer.capture(ModelScope(settings, ["Qwen"]))
    assert (summary.num_entities, summary.num_requests, summary.faults) == (250, 3, [])
    assert observer.values("downloads_all_time")["ms:Qwen/m249", TODAY] == 751
    assert observer.values("is:license=apache-license-2.0")["ms:Qwen/m0", TODAY] == 1
    assert observer.values("created")["ms:Qwen/m0", TODAY] == 20_205


def test_what_modelscope_does_not_show_is_said(
    services: Services, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modelscope, "MOST_SHOWN", 200)
    services.modelscope["iic"] = [model(f"iic/m{n}", 9) for n in range(210)]
    summary = observer.capture(ModelScope(settings_of(services, observer.home), ["iic", "gone"]))
    assert [fault.kind for fault in summary.faults] == [
        FaultKind.NOTHING_LISTED,
        FaultKind.CUT_OFF,
    ]
    assert summary.faults[1].detail == "200 of 210 models are shown, the most downloaded"
    assert summary.num_entities == 200


def test_a_counter_of_modelscope_that_runs_backwards_is_named(
    services: Services, observer: Observer
) -> None:
    found = []
    for month, downloads in enumerate((580_530, 210, 1_185_842)):
        observer.now = MORNING + timedelta(days=30 * month)
        services.modelscope["Qwen"] = [model("Qwen/Qwen3-0.6B", downloads)]
        source = ModelScope(settings_of(services, observer.home), ["Qwen"])
        found.append([str(fault.kind) for fault in observer.capture(source).faults])
    assert found == [[], ["falling counter"], ["dip"]]


@pytest.mark.parametrize(
    "body",
    [
        b'{"success": false, "message": "busy"}',
        b'{"success": true, "data": {"models": [], "total_count": 7}}',
        b'{"success": true, "data": {"models": []}}',
        HTML.body,
    ],
)
def test_an_answer_of_modelscope_without_models_is_no_empty_snapshot(
    services: Services, observer: Observer, body: bytes
) -> None:
    services.always["/openapi/"] = Reply(body=body)
    with pytest.raises(FetchError, match="did not succeed, so nothing was stored"):
        observer.capture(ModelScope(settings_of(services, observer.home), ["Qwen"]))


def test_ollamas_rounded_pulls_are_read(services: Services, observer: Observer) -> None:
    services.pulls = {"llama3.1": "118.7M", "deepseek-r1": "91.7M", "alfred": "17.7K", "new": "7"}
    summary = observer.capture(Ollama(settings_of(services, observer.home)))
    assert summary.faults == []
    assert observer.values("pulls") == {
        ("ollama:alfred", TODAY): 17_700,
        ("ollama:deepseek-r1", TODAY): 91_700_000,
        ("ollama:llama3.1", TODAY): 118_700_000,
        ("ollama:new", TODAY): 7,
    }


@pytest.mark.parametrize(
    ("shown", "pulls"),
    [("1.2B", 1.2e9), (" 5,120 ", 5120), ("3k", 3000), ("", None), ("many", None), ("-1", None)],
)
def test_rounded_numbers_are_read_or_refused(shown: str, pulls: float | None) -> None:
    assert unrounded(shown) == pulls


def test_an_entry_of_the_library_that_cannot_be_read_is_named(
    services: Services, observer: Observer
) -> None:
    services.pulls = {"llama3.1": "118.7M", "odd": "lots"}
    (fault,) = observer.capture(Ollama(settings_of(services, observer.home))).faults
    assert fault.kind is FaultKind.WRONG_TYPE and "'odd' shows 'lots' pulls" in fault.detail


@pytest.mark.parametrize(
    "page",
    [
        HTML.body,
        library({}),
        library({"a": "1M"})[:-20],
        library({"a": "?"}),
        b"\xff\xfe</html>",
        b"{}",
        b"",
    ],
)
def test_a_page_that_is_not_the_library_is_no_empty_snapshot(
    services: Services, observer: Observer, page: bytes
) -> None:
    services.pulls = {"llama3.1": "118.7M"}
    observer.capture(Ollama(settings_of(services, observer.home)))
    services.always["/library"] = Reply(body=page)
    observer.now += timedelta(days=1)
    with pytest.raises(FetchError, match="nothing was stored"):
        observer.capture(Ollama(settings_of(services, observer.home)))
    assert observer.values("pulls") == {("ollama:llama3.1", TODAY): 118_700_000}


def ranking(day: str, slug: str, tokens: object) -> dict[str, object]:
    return {"date": day, "model_permaslug": slug, "total_tokens": tokens}


def test_the_export_of_openrouter_needs_no_key(services: Services, observer: Observer) -> None:
    services.rankings = [
        ranking("2026-11-24", "deepseek/deepseek-v4-pro-20260423", "600"),
        ranking("2026-11-24", "other", "100"),
        ranking("2026-11-25", "z-ai/glm:free", "7"),
        ranking("2026-11-26", "z-ai/glm:free", "3"),
        ranking("2026-11-25", "a/b", "1e3"),
        ranking("soon", "a/b", "1"),
    ]
    source = OpenRouter(settings_of(services, observer.home), date(2025, 1, 1), TODAY)
    summary = observer.capture(source)
    assert observer.values("tokens_day") == {
        ("group:other", date(2026, 11, 24)): 100,
        ("openrouter:deepseek/deepseek-v4-pro-20260423", date(2026, 11, 24)): 600,
        ("openrouter:z-ai/glm:free", date(2026, 11, 25)): 7,
    }
    assert [fault.kind for fault in summary.faults] == [FaultKind.WRONG_TYPE] * 2
    assert services.seen[1] == "/api/v1/datasets/exports/rankings-daily/2026-10-09.csv"


def test_with_a_key_openrouter_is_asked_in_windows_of_a_year(
    services: Services, observer: Observer
) -> None:
    services.rankings = [
        ranking("2025-01-01", "a/b", "5"),
        ranking("2026-02-01", "a/b", 9_007_199_254_740_993),
    ]
    settings = settings_of(services, observer.home, token=CONCEALED)
    observer.capture(OpenRouter(settings, date(2025, 1, 1), TODAY))
    assert [path.partition("?")[2] for path in services.seen] == [
        "start_date=2025-01-01&end_date=2026-01-01",
        "start_date=2026-01-02&end_date=2026-11-25",
    ]
    assert len(observer.values("tokens_day")) == 2


def test_windows_cover_every_day_once() -> None:
    spans = [*windows(date(2024, 1, 1), date(2026, 11, 25))]
    days = [first + timedelta(n) for first, last in spans for n in range((last - first).days + 1)]
    assert days == [date(2024, 1, 1) + timedelta(n) for n in range(len(days))]
    assert days[-1] == date(2026, 11, 25)
    assert max((last - first).days + 1 for first, last in spans) == 366
    assert [*windows(TODAY, TODAY - timedelta(1))] == []


def test_restated_figures_of_openrouter_win_and_the_old_ones_stay(
    services: Services, observer: Observer
) -> None:
    for tokens in ("600", "650"):
        services.rankings = [ranking("2026-11-24", "a/b", tokens)]
        observer.capture(OpenRouter(settings_of(services, observer.home), TODAY, TODAY))
        observer.now += timedelta(hours=1)
    assert observer.values("tokens_day") == {("openrouter:a/b", date(2026, 11, 24)): 650}
    assert observer.num_stored() == 2


GENAI = [
    {
        "id": "deepseek",
        "name": "DeepSeek",
        "models": [
            {
                "id": "deepseek-v4-pro",
                "match": {"equals": "deepseek-v4-pro"},
                "prices": [
                    {"prices": {"input_mtok": 0.435, "output_mtok": 0.87}},
                    {
                        "constraint": {"start_date": "2026-08-17"},
                        "prices": {"input_mtok": 0.66, "output_mtok": 1.98},
                    },
                    {
                        "constraint": {"start_time": "01:00:00Z", "end_time": "04:00:00Z"},
                        "prices": {"input_mtok": 1.32, "output_mtok": 3.96},
                    },
                    {
                        "constraint": {"start_date": "2027-01-01"},
                        "prices": {"input_mtok": 0.5, "output_mtok": 1},
                    },
                ],
            },
            {"id": "ocr", "prices": {"input_mtok": 0.3}},
            {"id": "free", "prices": {"input_mtok": 0, "output_mtok": 0}},
            {"id": "negative", "prices": {"input_mtok": -1, "output_mtok": 1}},
        ],
    },
    {
        "id": "anthropic",
        "models": [
            {
                "id": "claude-sonnet-4-5",
                "prices": {
                    "input_mtok": {"base": 3, "tiers": [{"start": 200000, "price": 6}]},
                    "output_mtok": {"base": 15, "tiers": []},
                    "cache_read_mtok": 0.3,
                },
            }
        ],
    },
]


def observed(observer: Observer) -> list[PriceRow]:
    """The rows that `wazn cost` reads, without those of the package."""
    return [row for row in known_rows(observer.home) if row.catalogue.endswith(str(TODAY))]


def test_genai_prices_keep_their_dates_hours_and_first_tiers(
    services: Services, observer: Observer
) -> None:
    services.genai = GENAI
    summary = observer.capture(GenaiPrices(settings_of(services, observer.home)))
    rows = {(row.name, row.valid_from, row.hours): row for row in observed(observer)}
    name = "deepseek/deepseek-v4-pro"
    assert rows[name, None, ""].input == Decimal("0.435")
    assert rows[name, date(2026, 8, 17), ""].output == Decimal("1.98")
    assert rows[name, date(2026, 8, 17), "01:00-04:00 UTC"].input == Decimal("1.32")
    assert (name, date(2027, 1, 1), "") in rows
    sonnet = rows["anthropic/claude-sonnet-4-5", None, ""]
    assert (sonnet.input, sonnet.cached_input) == (Decimal(3), Decimal("0.3"))
    assert observer.values("input_price") == {
        ("price:anthropic/claude-sonnet-4-5", TODAY): 3.0,
        ("price:deepseek/deepseek-v4-pro", TODAY): 0.66,
    }
    assert dict(summary.left_out) == {
        "without a price of input and of output per token": 1,
        "at a price of zero": 1,
    }
    assert [fault.kind for fault in summary.faults] == [FaultKind.WRONG_TYPE]


def test_litellm_prices_per_token_become_prices_per_million(
    services: Services, observer: Observer
) -> None:
    chat = {"mode": "chat", "litellm_provider": "openai"}
    services.litellm = {
        "sample_spec": {"mode": "one of: chat, embedding", "input_cost_per_token": 0.0},
        "gpt-5": {
            **chat,
            "input_cost_per_token": 1.25e-06,
            "output_cost_per_token": 1e-05,
            "cache_read_input_token_cost": 1.25e-07,
        },
        "gemini/gemini-3": {**chat, "input_cost_per_token": 2e-6, "output_cost_per_token": 12e-6},
        "text-embedding": {"mode": "embedding", "input_cost_per_token": 1e-8},
        "ollama/llama3": {**chat, "input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
        "odd": {**chat, "input_cost_per_token": "cheap", "output_cost_per_token": 1},
    }
    summary = observer.capture(LitellmPrices(settings_of(services, observer.home)))
    rows = {row.name: row for row in observed(observer)}
    assert set(rows) == {"openai/gpt-5", "google/gemini-3"}
    gpt = rows["openai/gpt-5"]
    assert (str(gpt.input), str(gpt.output), str(gpt.cached_input)) == ("1.25", "10", "0.125")
    assert dict(summary.left_out) == {"not for text": 1, "at a price of zero": 1}
    assert "'cheap', not a price" in summary.faults[0].detail


def test_openrouters_own_prices_are_strings_and_minus_one_is_none(
    services: Services, observer: Observer
) -> None:
    services.router_models = [
        {
            "id": "deepseek/deepseek-v4-pro",
            "pricing": {
                "prompt": "0.000000435",
                "completion": "0.00000087",
                "input_cache_read": "0.000000003625",
            },
        },
        {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
    ]
    summary = observer.capture(OpenRouterPrices(settings_of(services, observer.home)))
    (row,) = observed(observer)
    assert (row.name, str(row.input)) == ("openrouter/deepseek/deepseek-v4-pro", "0.435")
    assert str(row.cached_input) == "0.003625"
    assert dict(summary.left_out) == {"whose price varies": 1}


def test_a_price_that_holds_is_one_row_and_a_new_one_begins_when_it_is_seen(
    services: Services, observer: Observer
) -> None:
    def capture(days: int, price: float) -> None:
        observer.now = MORNING + timedelta(days=days)
        entry: dict[str, object] = {"mode": "chat", "litellm_provider": "openai"}
        entry |= {"input_cost_per_token": price, "output_cost_per_token": price}
        services.litellm = {"gpt-new": entry}
        observer.capture(LitellmPrices(settings_of(services, observer.home)))

    for days, price in ((0, 2e-6), (3, 2e-6), (9, 1e-6), (12, 1e-6)):
        capture(days, price)
    rows = [row for row in known_rows(observer.home) if row.model == "gpt-new"]
    assert [(str(row.input), row.valid_from, row.captured) for row in rows] == [
        ("2", None, TODAY + timedelta(3)),
        ("1", TODAY + timedelta(9), TODAY + timedelta(12)),
    ]
    assert len(observer.values("input_price")) == 4


@pytest.mark.parametrize("body", [HTML.body, b"{}", b"[]", b'{"a": {}}', b'{"data": 5}'])
def test_a_catalogue_without_prices_is_an_error(
    services: Services, observer: Observer, body: bytes
) -> None:
    services.always["/litellm.json"] = Reply(body=body)
    with pytest.raises(FetchError, match="nothing was stored"):
        observer.capture(LitellmPrices(settings_of(services, observer.home)))
    assert observer.num_stored() == 0
