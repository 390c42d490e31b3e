"""Copies a vocabulary from one GGUF file into another that is being written."""

from __future__ import annotations

from typing import Any

from wazn.weights.gguf import GGUF


def copy_vocabulary(source: GGUF, writer: Any) -> None:
    """Add all ``tokenizer.`` metadata of ``source`` to a ``gguf.GGUFWriter``."""
    from gguf import GGUFValueType

    for name, value in source.metadata.items():
        if not name.startswith("tokenizer."):
            continue
        if isinstance(value, list):
            writer.add_array(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        elif isinstance(value, bool):
            writer.add_bool(name, value)
        else:
            writer.add_key_value(name, value, GGUFValueType.UINT32)
