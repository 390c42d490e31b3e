"""Reading JSON that strangers wrote, within limits that are checked before anything is parsed.

Python needs up to 20 times the text's size for parsed JSON, so the size alone bounds nothing: the
brackets, quotes and commas are counted first, which is quick, and say how many objects there can
be. Knows nothing of what the JSON means.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from wazn.errors import BadFile

JSON: TypeAlias = Any
"""What json.loads returns; checked field by field where it is used."""

MAX_CONTAINERS = 3_000_000
"""Lists and objects in one file; the largest real tokenizer.json has one per merge, 0.6 million."""
MAX_VALUES = 12_000_000
"""Quotes and commas each; the largest real tokenizer.json has 3 million quotes."""


def read_json(path: Path, max_bytes: int) -> JSON:
    """The JSON in a file of at most max_bytes; BadFile names the file and what is wrong with it."""
    with path.open("rb") as file:
        text = file.read(max_bytes + 1)
    if len(text) > max_bytes:
        raise BadFile(f"{path} is larger than {max_bytes} bytes, the limit for this file.")
    return parse_json(text, str(path))


def parse_json(text: bytes, name: str) -> JSON:
    """Parse JSON text; a repeated key, excessive nesting or excessive size is a BadFile."""
    containers = text.count(b"[") + text.count(b"{")
    if containers > MAX_CONTAINERS or max(text.count(b'"'), text.count(b",")) > MAX_VALUES:
        raise BadFile(
            f"{name} holds too many values ({containers} lists and objects; "
            f"the limit is {MAX_CONTAINERS})."
        )
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise BadFile(f"{name} is nested too deeply.") from None
    except ValueError as error:
        raise BadFile(f"{name} is not valid JSON: {str(error)[:200]}.") from None


def _unique(pairs: Sequence[tuple[str, JSON]]) -> dict[str, JSON]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:80]!r} appears twice in one object")
            seen.add(key)
    return result
