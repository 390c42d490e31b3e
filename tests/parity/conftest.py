"""The parity suite works with the user's own store and network: it may fetch the default model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from wazn.weights.store import Store


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """More time than the ordinary tests have: the reference is slow, and the default model real."""
    for item in items:
        item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session", autouse=True)
def quiet_reference() -> None:
    """Two threads, as many as the smallest machine has, and no progress bars."""
    torch.set_num_threads(2)
    logging: Any = transformers.utils.logging
    logging.disable_progress_bar()


@pytest.fixture(autouse=True)
def own_folders() -> Iterator[None]:
    """Overrides the isolation of the ordinary tests."""
    yield


@pytest.fixture(autouse=True)
def local_network_only() -> Iterator[None]:
    """Overrides the isolation of the ordinary tests."""
    yield


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The default model's GGUF file."""
    return Store().get("smollm2").path
