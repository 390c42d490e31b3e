"""wazn: run, serve and weigh open-weight language models on ordinary CPUs.

Importing this package loads nothing: the names below are resolved on first use, so that a
command which needs no model starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wazn.engine.llm import LLM
    from wazn.engine.params import SamplingParams
    from wazn.engine.request import Completion, Increment
    from wazn.errors import WaznError

    __version__: str

__all__ = ["LLM", "Completion", "Increment", "SamplingParams", "WaznError", "__version__"]

_HOMES = {
    "LLM": "wazn.engine.llm",
    "SamplingParams": "wazn.engine.params",
    "Completion": "wazn.engine.request",
    "Increment": "wazn.engine.request",
    "WaznError": "wazn.errors",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value: object = getattr(import_module(_HOMES[name]), name)
    elif name == "__version__":
        from importlib.metadata import version

        value = version("wazn")
    else:
        raise AttributeError(f"module 'wazn' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
