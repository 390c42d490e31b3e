"""What every test gets: folders of its own, and a network that ends at this machine."""

import os
import signal
import socket
from typing import Any

import pytest

# A run in the background may be told to ignore Ctrl-C, which tests and what they start send.
signal.signal(signal.SIGINT, signal.default_int_handler)

_FOREIGN_VARIABLES = ("HF_TOKEN", "HF_ENDPOINT", "MODELSCOPE_API_TOKEN", "OPENROUTER_API_KEY")


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty store and cache for each test; the user's settings and tokens are out of reach."""
    for variable in [*os.environ]:
        if variable.startswith("WAZN_") or variable in _FOREIGN_VARIABLES:
            monkeypatch.delenv(variable)
    root = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("WAZN_HOME", str(root / "home"))
    monkeypatch.setenv("WAZN_CACHE", str(root / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(root / "config"))
    monkeypatch.setenv("HF_HOME", str(root / "huggingface"))


@pytest.fixture(autouse=True)
def local_network_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to another machine fails at once, and the message says whose fault it is."""
    monkeypatch.setattr(socket.socket, "connect", _guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", _guarded(socket.socket.connect_ex))


def _guarded(connect: Any) -> Any:
    def connect_nearby(this: socket.socket, address: Any) -> Any:
        is_internet = this.family in (socket.AF_INET, socket.AF_INET6)
        if is_internet and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address[0]}")
        return connect(this, address)

    return connect_nearby
