"""Stores for tests: the public series, imported once, and small ones made by hand."""

from pathlib import Path

import pytest

from tests.weigh.shared_data import shared_data
from wazn.weigh.folders import Folders
from wazn.weigh.importing import import_file
from wazn.weigh.store import ObservationStore

SERIES = (
    "osir_hf_models_timeseries_tracked.csv",
    "osir_hf_downloads30d_by_org.csv",
    "ollama_pulls_daily.csv.gz",
    "sample_hf_textgen_top_2026-09-05.csv",
)


@pytest.fixture(scope="session")
def series_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose store holds the public series."""
    home = tmp_path_factory.mktemp("series")
    for name in SERIES:
        import_file(shared_data(name), Folders(home))
    return home


@pytest.fixture
def series_store(series_home: Path) -> ObservationStore:
    """The store of the public series, to be read."""
    return Folders(series_home).store
