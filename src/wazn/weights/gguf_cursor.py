"""A bounded cursor over the header of a GGUF file: numbers, strings and lists of them.

Every count and length is checked against the bytes that are left, and against the stated limits,
before anything is allocated or looped over. The header is read in windows, so its size is not
known beforehand and does not matter. Refuses to know keys, tensors and what values mean.
"""

import struct

import numpy as np

from wazn.errors import BadFile
from wazn.weights.files import WeightFile

MAX_HEADER_BYTES = 128 << 20
"""Metadata and tensor table together. The largest vocabularies known (262 144 tokens, 515 000
merges) take 20 MB, an embedded ``tokenizer.json`` another 35 MB."""

MAX_STRING_BYTES = 64 << 20
"""One string."""

MAX_STRINGS = 3 << 19
"""Strings in lists, in all: twice the largest vocabulary with its merges; half a second."""

MAX_NUMBERS = 1 << 22
"""Numbers in lists, in all: eight times the scores and types of the largest vocabulary."""

MAX_NESTED_LISTS = 1 << 16
"""Lists inside lists, in all; no known file has any."""

WINDOW_BYTES = 1 << 20

_LENGTH = struct.Struct("<Q")


class HeaderCursor:
    """Reads forward from the start of ``file``; raises BadFile naming the field that is broken."""

    def __init__(self, file: WeightFile) -> None:
        self.file = file
        self.position = 0
        self._window = b""
        self._window_start = 0
        self._strings_left = MAX_STRINGS
        self._numbers_left = MAX_NUMBERS
        self._nested_lists_left = MAX_NESTED_LISTS

    def bad(self, field: str, fact: str) -> BadFile:
        """The error to raise: the file, the field, the fact and what to do."""
        return BadFile(f"{self.file.path}: {field} {fact}; the file is damaged, fetch it again")

    def require(self, num_bytes: int, field: str) -> None:
        """Check that ``num_bytes`` more bytes exist and stay within the limit on the header."""
        end = self.position + num_bytes
        if end > self.file.size:
            raise self.bad(
                field, f"needs {num_bytes} bytes at {self.position}, the file has {self.file.size}"
            )
        if end > MAX_HEADER_BYTES:
            raise self.bad(field, f"makes the header {end} bytes long, at most {MAX_HEADER_BYTES}")

    def require_elements(self, count: int, min_bytes: int, limit: int, field: str) -> None:
        """Check a count of elements of at least ``min_bytes`` each against file and ``limit``."""
        self.require(count * min_bytes, field)
        if count > limit:
            raise self.bad(field, f"has {count} elements, at most {limit} are allowed")

    def unpack(self, layout: struct.Struct, field: str) -> tuple[int, ...]:
        """The integers of a ``struct`` layout."""
        index = self._fill(layout.size, field)
        self.position += layout.size
        return layout.unpack_from(self._window, index)

    def number(self, layout: struct.Struct, field: str) -> int | float:
        """The one number of a layout."""
        return self.unpack(layout, field)[0]

    def string(self, field: str, max_bytes: int = MAX_STRING_BYTES) -> bytes:
        """A length and that many bytes."""
        (length,) = self.unpack(_LENGTH, field)
        if length > max_bytes:
            raise self.bad(field, f"is {length} bytes long, at most {max_bytes} are allowed")
        index = self._fill(length, field)
        self.position += length
        return self._window[index : index + length]

    def strings(self, count: int, field: str) -> list[str]:
        """``count`` strings; bytes that are no UTF-8 become lone surrogates (surrogateescape)."""
        self.require_elements(count, _LENGTH.size, self._strings_left, field)
        self._strings_left -= count
        values: list[str] = []
        while len(values) < count:
            values.append(self.string(field).decode("utf-8", "surrogateescape"))
            self._strings_of_window(values, count - len(values))
        return values

    def numbers(self, count: int, dtype: np.dtype[np.generic], field: str) -> list[int | float]:
        """``count`` numbers of a little-endian ``dtype``."""
        self.require_elements(count, dtype.itemsize, self._numbers_left, field)
        self._numbers_left -= count
        buffer = np.empty(count, dtype)
        self.file.read_into(buffer, self.position, field)
        self.position += buffer.nbytes
        values: list[int | float] = buffer.tolist()
        return values

    def nested_lists(self, count: int, min_bytes: int, field: str) -> None:
        """Account for ``count`` lists inside a list."""
        self.require_elements(count, min_bytes, self._nested_lists_left, field)
        self._nested_lists_left -= count

    def _fill(self, num_bytes: int, field: str) -> int:
        """Make ``num_bytes`` at the position available; their index in the window."""
        index = self.position - self._window_start
        if index + num_bytes <= len(self._window):
            return index
        self.require(num_bytes, field)
        ahead = min(self.file.size, MAX_HEADER_BYTES) - self.position
        self._window = self.file.read(
            self.position, max(num_bytes, min(WINDOW_BYTES, ahead)), field
        )
        self._window_start = self.position
        return 0

    def _strings_of_window(self, values: list[str], count: int) -> None:
        """Append up to ``count`` strings, as many as lie whole in the window (the hot loop)."""
        window = self._window
        index = self.position - self._window_start
        last_length = len(window) - _LENGTH.size
        unpack, append = _LENGTH.unpack_from, values.append
        for _ in range(count):
            if index > last_length:
                break
            start = index + 8
            stop = start + unpack(window, index)[0]
            if stop > len(window):
                break
            append(window[start:stop].decode("utf-8", "surrogateescape"))
            index = stop
        self.position = self._window_start + index
