"""The key-value part of a GGUF header: every value type of the format, nested lists included.

Turns bytes into ``str``, ``int``, ``float``, ``bool`` and lists of those; keys must be unique.
Strings are decoded as UTF-8 with ``surrogateescape``, because token lists of real models hold
invalid UTF-8: ``text.encode("utf-8", "surrogateescape")`` gives the bytes back. Refuses to know
which keys exist.
"""

import struct
from collections.abc import Mapping
from typing import TypeAlias, cast

import numpy as np

from wazn.weights.gguf_cursor import HeaderCursor
from wazn.weights.quoting import quoted

MetadataValue: TypeAlias = "str | int | float | bool | list[MetadataValue]"
Metadata: TypeAlias = Mapping[str, MetadataValue]

MAX_KEYS = 1 << 16
MAX_KEY_BYTES = 65535
MAX_DEPTH = 4
"""Lists in lists in lists in a list."""

_BOOL, _STRING, _LIST = 7, 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}
_SCALARS = {kind: struct.Struct("<" + code) for kind, code in _NUMBERS.items()}
_DTYPES = {kind: np.dtype(code).newbyteorder("<") for kind, code in _NUMBERS.items()}
_BYTE = np.dtype(np.uint8)

_TYPE = struct.Struct("<I")
_FLAG = struct.Struct("<B")
_LIST_HEADER = struct.Struct("<IQ")  # element type, count
_MIN_ENTRY_BYTES = 8 + 1 + 4 + 1  # a length, a key of one letter, a type, a one-byte value


def read_metadata(cursor: HeaderCursor, count: int) -> dict[str, MetadataValue]:
    """Read ``count`` key-value pairs at the cursor; raises BadFile naming the key."""
    cursor.require_elements(count, _MIN_ENTRY_BYTES, MAX_KEYS, "metadata count")
    metadata: dict[str, MetadataValue] = {}
    for index in range(count):
        key = _read_key(cursor, f"metadata key number {index}")
        field = f"metadata {quoted(key)}"
        if key in metadata:
            raise cursor.bad(field, "appears twice")
        (kind,) = cursor.unpack(_TYPE, field)
        metadata[key] = _read_value(cursor, kind, field)
    return metadata


def _read_key(cursor: HeaderCursor, field: str) -> str:
    raw = cursor.string(field, MAX_KEY_BYTES)
    try:
        key = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise cursor.bad(field, "is not valid UTF-8") from None
    if not key:
        raise cursor.bad(field, "is empty")
    return key


def _read_value(cursor: HeaderCursor, kind: int, field: str) -> MetadataValue:
    if kind == _STRING:
        return cursor.string(field).decode("utf-8", "surrogateescape")
    if kind == _LIST:
        return _read_list(cursor, field, 1)
    if kind == _BOOL:
        (flag,) = cursor.unpack(_FLAG, field)
        if flag > 1:
            raise cursor.bad(field, f"is a boolean of value {flag}, not 0 or 1")
        return bool(flag)
    if kind not in _SCALARS:
        raise cursor.bad(field, f"has the unknown value type {kind}")
    return cursor.number(_SCALARS[kind], field)


def _read_list(cursor: HeaderCursor, field: str, depth: int) -> list[MetadataValue]:
    if depth > MAX_DEPTH:
        raise cursor.bad(field, f"nests lists deeper than {MAX_DEPTH}")
    kind, count = cursor.unpack(_LIST_HEADER, field)
    if kind == _STRING:
        return cast("list[MetadataValue]", cursor.strings(count, field))
    if kind == _LIST:
        cursor.nested_lists(count, _LIST_HEADER.size, field)
        return [_read_list(cursor, field, depth + 1) for _ in range(count)]
    if kind == _BOOL:
        flags = cursor.numbers(count, _BYTE, field)
        if flags and max(flags) > 1:
            raise cursor.bad(field, f"holds a boolean of value {max(flags)}, not 0 or 1")
        return [flag == 1 for flag in flags]
    if kind not in _DTYPES:
        raise cursor.bad(field, f"has elements of the unknown type {kind}")
    return cast("list[MetadataValue]", cursor.numbers(count, _DTYPES[kind], field))
