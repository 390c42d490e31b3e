"""Values of a configuration, read by name and checked: a configuration is hostile input.

Families spell the same fact differently, so a fact is asked for by all of its names. Nothing is
guessed: a fact that is missing and has no default in the format itself is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wazn.errors import BadFile

LARGEST = 1 << 31
"""More than any number of a model; products of three of them are still exact."""

MAX_LAYERS = 4096


@dataclass(frozen=True, slots=True)
class Facts:
    """The values of one configuration, and where they were read."""

    where: str
    values: Mapping[str, Any]

    def has(self, name: str) -> bool:
        """Whether the configuration states it, and not as null."""
        return self.values.get(name) is not None

    def integer(self, *names: str, default: int | None = None, least: int = 1) -> int:
        """The first of the names that is stated, a whole number of ``least`` or more."""
        for name in names:
            if self.has(name):
                value = self.values[name]
                if type(value) is not int or not least <= value <= LARGEST:
                    raise self.bad(name, f"not a whole number from {least} to {LARGEST}")
                return value
        if default is None:
            raise BadFile(f"{self.where} does not state {' or '.join(names)}.")
        return default

    def flag(self, name: str, default: bool) -> bool:
        """A switch."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.bad(name, "not true or false")
        return value

    def texts(self, name: str, length: int) -> tuple[str, ...] | None:
        """One word for each of ``length`` layers; None if not stated."""
        value = self.values.get(name)
        if value is None:
            return None
        return tuple(self._list(name, value, length, str))

    def integers(self, name: str, length: int) -> tuple[int, ...] | None:
        """One number for each of ``length`` layers; None if not stated."""
        value = self.values.get(name)
        if value is None:
            return None
        return tuple(self._list(name, value, length, int))

    def nested(self, name: str) -> Facts | None:
        """The facts of an object within; None if not stated."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.bad(name, "not an object")
        return Facts(f"{self.where}: {name}", value)

    def bad(self, name: str, expected: str) -> BadFile:
        """The error for a value that cannot be."""
        return BadFile(f"{self.where}: {name} is {str(self.values[name])[:60]!r}, {expected}.")

    def _list(self, name: str, value: object, length: int, kind: type) -> Sequence[Any]:
        if (
            not isinstance(value, list)
            or len(value) < length
            or any(type(item) is not kind for item in value)
        ):
            raise self.bad(name, f"not a list with one {kind.__name__} for each of {length} layers")
        return value[:length]
