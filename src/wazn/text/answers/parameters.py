"""Arguments that a model writes one by one, turned into the JSON object that callers expect.

Some formats give each value as bare text, whose type only the tool's JSON schema tells. Strings
are handed on while they arrive; of anything else the whole value is needed. A value that does not
fit its schema stays the text it is: the tool can say more about it than we can.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping

from wazn.text.answers.writer import AnswerWriter, NoCall

MAX_VALUE_CHARACTERS = 65_536
"""Longest value that is read in Python's spelling, which is parsed as a whole."""

_PLAIN = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "object": (dict,),
    "array": (list,),
}


class ParameterWriter:
    """The arguments of one call: each parameter is begun, written and ended in turn."""

    def __init__(self, answer: AnswerWriter, name: str) -> None:
        self._answer = answer
        properties = answer.tools.get(name, {}).get("properties")
        self._properties = properties if isinstance(properties, Mapping) else {}
        self._names: set[str] = set()
        self._types: frozenset[str] = frozenset()
        self._held: list[str] = []  # pieces of a value whose type needs all of it

    def begin(self, name: str, types: frozenset[str] | None = None) -> None:
        """The next parameter; ``types``: what the format itself says its value may be."""
        if name in self._names:
            raise NoCall(f"the parameter {name} is given twice.")
        self._types = types_of(self._properties.get(name)) if types is None else types
        separator = ", " if self._names else "{"
        self._names.add(name)
        self._held.clear()
        quote = '"' if self._is_string else ""
        self._answer.arguments(f"{separator}{json.dumps(name, ensure_ascii=False)}: {quote}")

    def write(self, text: str) -> None:
        """More of its value."""
        if self._is_string:
            self._answer.arguments(json.dumps(text, ensure_ascii=False)[1:-1])
        else:
            self._held.append(text)

    def end(self) -> None:
        """Its value is complete."""
        if self._is_string:
            self._answer.arguments('"')
        else:
            value = cast("".join(self._held), self._types)
            self._answer.arguments(json.dumps(value, ensure_ascii=False))

    def finish(self) -> None:
        """There are no more parameters."""
        self._answer.arguments("}" if self._names else "{}")
        self._answer.end()

    @property
    def _is_string(self) -> bool:
        return self._types == {"string"}


def types_of(schema: object) -> frozenset[str]:
    """The JSON types that a schema admits; strings only where it says nothing else."""
    if not isinstance(schema, Mapping):
        return frozenset({"string"})
    stated = schema.get("type")
    if isinstance(stated, str):
        types = {stated}
    elif isinstance(stated, list):
        types = {one for one in stated if isinstance(one, str)}
    elif isinstance(schema.get("enum"), list):
        types = {_type_name(value) for value in schema["enum"]}
    else:
        parts = [part for key in ("anyOf", "oneOf", "allOf") for part in schema.get(key) or ()]
        types = {name for part in parts for name in types_of(part)}
    if schema.get("nullable") is True:
        types.add("null")
    return frozenset(types or {"string"})


def cast(text: str, types: frozenset[str]) -> object:
    """The value that the text stands for among those types; the text itself if it fits none."""
    word = text.strip()
    if "boolean" in types and word.lower() in ("true", "false"):
        return word.lower() == "true"
    if "null" in types and word.lower() in ("null", "none"):
        return None
    value = _value(word, is_nested=bool(types & {"object", "array"}))
    if isinstance(value, bool):
        return text  # booleans were dealt with above
    if any(isinstance(value, kind) for name in types for kind in _PLAIN.get(name, ())):
        return value
    if "integer" in types and isinstance(value, float) and value.is_integer():
        return int(value)
    return text


def _value(word: str, *, is_nested: bool) -> object:
    """What the word says as JSON or, where it holds other values, as Python; itself if nothing.

    Some templates write earlier calls with Python's quotes, so their models do, too.
    """
    readers = (json.loads, ast.literal_eval) if is_nested else (json.loads,)
    for reader in readers if len(word) <= MAX_VALUE_CHARACTERS else (json.loads,):
        try:
            value = reader(word)
            json.dumps(value, allow_nan=False)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
        return value
    return word


def _type_name(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return next(
        (name for name, kinds in _PLAIN.items() if isinstance(value, kinds)),
        "string",
    )
