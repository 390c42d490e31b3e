"""Copies a vocabulary from one GGUF file into another that is being written."""

from __future__ import annotations

from typing import Any

from wazn.weights.gguf import GGUF

_FILLERS = {"tokenizer.ggml.tokens": "<filler {}>", "tokenizer.ggml.token_type": 1}  # 1: normal


def copy_vocabulary(source: GGUF, writer: Any, size: int | None = None) -> None:
    """Add all ``tokenizer.`` metadata of ``source`` to a ``gguf.GGUFWriter``, with tokens that mean
    nothing up to ``size`` of them."""
    from gguf import GGUFValueType

    for name, value in source.metadata.items():
        if not name.startswith("tokenizer."):
            continue
        if isinstance(value, list):
            writer.add_array(name, [*value, *_fillers(name, len(value), size or 0)])
        elif isinstance(value, str):
            writer.add_string(name, value)
        elif isinstance(value, bool):
            writer.add_bool(name, value)
        else:
            writer.add_key_value(name, value, GGUFValueType.UINT32)


def _fillers(name: str, count: int, size: int) -> list[Any]:
    filler = _FILLERS.get(name)
    if filler is None:
        return []
    return [filler.format(i) if isinstance(filler, str) else filler for i in range(count, size)]
