"""The calls of Llama 3 and 4, which have no brackets of their own and can only begin an answer.

Llama 3: ``{"name": …, "parameters": {…}}``, several divided by ``;``; Llama 3.2 and 4 also
``[f(a=1), g(b="x")]``; for built-in tools ``<|python_tag|>name.call(query="…")``. Llama 4 may put
its list between ``<|python_start|>`` and ``<|python_end|>``. An answer that happens to be JSON is
told from a call by its name, which must be one of the tools.
"""

from __future__ import annotations

import ast
import json

from wazn.text.answers.hermes import read_object
from wazn.text.answers.json_values import CUT
from wazn.text.answers.source import Reading, Source
from wazn.text.answers.writer import AnswerWriter, NoCall

PYTHON_TAG = "<|python_tag|>"
PYTHON_START, PYTHON_END = "<|python_start|>", "<|python_end|>"
OPENERS = (PYTHON_TAG, PYTHON_START)

MAX_CALL_CHARACTERS = 65_536
"""Longest call in Python's spelling, which is parsed as a whole."""


def read_llama(source: Source, answer: AnswerWriter, opener: str) -> Reading[None]:
    """Calls at the beginning of an answer (``opener`` is ""), or after a token for code."""
    yield from source.spaces()
    sign = yield from source.peek()
    if sign == "{":
        yield from _read_objects(source, answer)
    elif sign == "[":
        yield from _read_python_list(source, answer)
    elif opener:
        yield from _read_builtin(source, answer)
    else:
        raise NoCall("the answer begins with no call.")
    if opener == PYTHON_START:
        yield from source.literal(PYTHON_END)
    source.settle()


def _read_objects(source: Source, answer: AnswerWriter) -> Reading[None]:
    while True:
        yield from read_object(source, answer, must_be_offered=True)
        yield from source.spaces()
        if not (yield from source.literal(";")):
            return
        yield from source.spaces()
        if (yield from source.peek()) != "{":
            return


def _read_python_list(source: Source, answer: AnswerWriter) -> Reading[None]:
    yield from source.literal("[")
    while True:
        _answer_with(answer, (yield from _read_python_call(source)), "")
        yield from source.spaces()
        if (yield from source.literal("]")):
            return
        if not (yield from source.literal(",")):
            raise NoCall("a comma or the closing bracket of the list of calls is missing.")


def _read_builtin(source: Source, answer: AnswerWriter) -> Reading[None]:
    """``brave_search.call(query="…")``; code that is no such call stays text."""
    _answer_with(answer, (yield from _read_python_call(source)), ".call")


def _answer_with(answer: AnswerWriter, code: str, suffix: str) -> None:
    name, arguments = _parsed(code)
    if not name.endswith(suffix):
        raise NoCall(f"{name} is no call of a built-in tool.")
    name = name.removesuffix(suffix)
    if not suffix and name not in answer.tools:
        raise NoCall(f"{name!r} is none of the tools.")
    answer.start(name)
    answer.arguments(json.dumps(arguments, ensure_ascii=False))
    answer.end()


def _read_python_call(source: Source) -> Reading[str]:
    """The text of one call, up to its closing parenthesis; NoCall if it does not look like one."""
    yield from source.spaces()
    scanner = _CallScanner()
    while not scanner.is_complete:
        text = yield from source.some(source.tokens)
        if not text:
            raise NoCall(CUT)
        source.back(text[scanner.length_of(text) :])
        if scanner.fault:
            raise NoCall(scanner.fault)
    return scanner.code


class _CallScanner:
    """Follows brackets and quotes of Python from a name to the parenthesis that ends the call."""

    def __init__(self) -> None:
        self.code = ""
        self.is_complete = False
        self.fault = ""
        """Why this cannot be a call."""
        self._num_letters = 0
        self._depth = 0
        self._quote = ""
        self._is_escaped = False

    def length_of(self, text: str) -> int:
        """How much of the text belongs to the call, or to what turned out to be none."""
        length = 0
        while length < len(text) and not self.is_complete and not self.fault:
            self._take(text[length])
            length += 1
        self.code += text[:length]
        return length

    def _take(self, letter: str) -> None:
        self._num_letters += 1
        if self._num_letters > MAX_CALL_CHARACTERS:
            self.fault = f"the call has more than {MAX_CALL_CHARACTERS} characters."
        elif self._quote:
            if self._is_escaped:
                self._is_escaped = False
            elif letter == "\\":
                self._is_escaped = True
            elif letter == self._quote:
                self._quote = ""
        elif self._depth == 0 and letter not in "(." and not (letter == "_" or letter.isalnum()):
            self.fault = f"{letter!r} stands in the name of a call."
        elif letter in "\"'":
            self._quote = letter
        elif letter in "([{":
            self._depth += 1
        elif letter in ")]}":
            self._depth -= 1
            self.is_complete = self._depth == 0


def _parsed(code: str) -> tuple[str, dict[str, object]]:
    """Name and arguments of a call in Python's spelling; nothing of it is run."""
    try:
        call = ast.parse(code, mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise NoCall("a call must name its arguments.")
        arguments: dict[str, object] = {}
        for keyword in call.keywords:
            if keyword.arg is None:
                raise NoCall("a call must name its arguments.")
            arguments[keyword.arg] = _value(keyword.value)
        json.dumps(arguments, allow_nan=False)
        return ast.unparse(call.func), arguments
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise NoCall(f"the call is not valid ({type(error).__name__}).") from None


def _value(node: ast.expr) -> object:
    """A literal, also with the words of JSON; ValueError for anything that would be computed."""
    match node:
        case ast.Name(id="true" | "false" | "null" as word):
            return {"true": True, "false": False, "null": None}[word]
        case ast.List(elts=elements):
            return [_value(element) for element in elements]
        case ast.Dict(keys=keys, values=values):
            return {
                ast.literal_eval(key) if key is not None else "": _value(value)
                for key, value in zip(keys, values, strict=True)
            }
        case _:
            return ast.literal_eval(node)
