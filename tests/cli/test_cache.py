"""The cache of packed weights, on the command line."""

import json
from pathlib import Path

import pytest

from tests.cli.command_line import Run
from wazn.weights.packed import SourceFile
from wazn.weights.packed_cache import CacheEntry


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A cache with one entry; what it was asked to be pruned to."""
    source = SourceFile("/models/m.gguf", 1, 2, 3, 4)
    entry = CacheEntry(Path("/cache/m.packed"), (source,), 98_000_000, 86400.0, "q8")
    limits: list[int] = []

    def prune(self: object, limit_bytes: int) -> int:
        limits.append(limit_bytes)
        return 98_000_000

    home = "wazn.weights.packed_cache.PackedCache"
    monkeypatch.setattr(f"{home}.entries", lambda self: [entry])
    monkeypatch.setattr(f"{home}.prune", prune)
    monkeypatch.setattr(f"{home}.clear", lambda self: 98_000_000)
    return limits


def test_entries_are_listed(wazn: Run, asked: list[int]) -> None:
    shown = wazn("cache", "list").stdout
    assert "/models/m.gguf" in shown
    assert "98.0 MB" in shown
    assert "q8" in shown.split()
    assert "1970-01-0" in shown
    assert json.loads(wazn("cache", "list", "--json").stdout) == [
        {
            "model": "/models/m.gguf",
            "weights": "q8",
            "path": "/cache/m.packed",
            "size_bytes": 98_000_000,
            "last_used": 86400.0,
        }
    ]


def test_an_empty_cache_is_said_to_be_empty(wazn: Run) -> None:
    assert wazn("cache", "list").stdout == "The cache is empty.\n"
    assert wazn("cache", "clear", "--json").stdout == '{"freed_bytes": 0}\n'


def test_prune_takes_a_limit(wazn: Run, asked: list[int]) -> None:
    assert wazn("cache", "prune", "--limit", "20GB").stdout == "98.0 MB freed\n"
    assert asked == [20 * 10**9]


def test_prune_falls_back_to_the_setting(
    wazn: Run, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAZN_CACHE_LIMIT", "1GB")
    wazn("cache", "prune", "--json")
    assert asked == [10**9]


def test_prune_without_any_limit_is_wrong_usage(wazn: Run, asked: list[int]) -> None:
    outcome = wazn("cache", "prune")
    assert outcome.status == 2
    assert "give --limit SIZE" in outcome.stderr
    assert asked == []


def test_clear_frees_everything(wazn: Run, asked: list[int]) -> None:
    assert wazn("cache", "clear").stdout == "98.0 MB freed\n"
