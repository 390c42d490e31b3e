"""JSON objects from hostile files: parsed whole, but only after their size is known to be sane.

Duplicate keys, NaN, absurd numbers and deep nesting are errors; the number of values is bounded
before parsing, so a few megabytes cannot become gigabytes of objects. Refuses to know what the
object means.
"""

import json
from typing import Any

from wazn.errors import BadFile
from wazn.weights.quoting import quoted

MAX_VALUES = 1 << 20
"""Values of one document: about eight for each tensor, so 131 000 tensors per file."""

MAX_DIGITS = 20
"""Enough for any 64-bit integer with its sign."""


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """Parse one JSON object; raises BadFile that begins with ``what``, the file and field."""
    # Each value follows a comma or opens a container, so these bytes bound their number.
    num_values = raw.count(b",") + raw.count(b"[") + raw.count(b"{") + 1
    if num_values > MAX_VALUES:
        raise BadFile(
            f"{what} holds up to {num_values} JSON values, at most {MAX_VALUES} "
            "are read; the file is damaged, fetch it again"
        )
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise BadFile(f"{what} nests JSON too deeply; the file is damaged") from None
    except ValueError as error:  # bad JSON, bad UTF-8, a duplicate key, an absurd number
        raise BadFile(f"{what} is not valid JSON: {_reason(error)}; fetch it again") from None
    if not isinstance(value, dict):
        raise BadFile(f"{what} is not a JSON object; the file is damaged, fetch it again")
    return value


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return str(error)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"key {quoted(key)} appears twice")
            seen.add(key)
    return unique


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits is too large")
    return int(text)


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")
