"""Calls as tags with bare values: Qwen3-Coder, Qwen3.5 and later, Seed-OSS.

::

    <tool_call>
    <function=NAME>
    <parameter=KEY>
    VALUE
    </parameter>
    </function>
    </tool_call>

One line break after and one before a value are layout. Seed-OSS writes ``<seed:tool_call>``.
Qwen3-Coder is known to forget the outer opening tag, so ``<function=`` begins a call, too.
"""

from __future__ import annotations

from wazn.text.answers.json_values import CUT
from wazn.text.answers.parameters import ParameterWriter
from wazn.text.answers.source import Reading, Source
from wazn.text.answers.writer import AnswerWriter, NoCall

FUNCTION, PARAMETER = "<function=", "<parameter="
_FUNCTION_END, _PARAMETER_END = "</function>", "</parameter>"


def read_function_tags(source: Source, answer: AnswerWriter, opener: str) -> Reading[None]:
    """Everything after the opening tag, whose closing tag may hold several functions."""
    close = "</tool_call>" if opener == FUNCTION else opener.replace("<", "</")
    if opener != FUNCTION:
        yield from read_layout(source, [FUNCTION])
    while True:
        yield from _read_function(source, answer, close)
        spaces = yield from source.spaces()
        if (yield from source.literal(close)):
            source.settle()
            return
        if not (yield from source.literal(FUNCTION)):
            source.back(spaces)
            return


def read_layout(source: Source, markers: list[str]) -> Reading[str]:
    """White space, then one of the markers; NoCall if anything else comes."""
    yield from source.spaces()
    for marker in markers:
        if (yield from source.literal(marker)):
            return marker
    if not (yield from source.peek()):
        raise NoCall(CUT)
    raise NoCall(f"{' or '.join(markers)} is missing.")


def _read_function(source: Source, answer: AnswerWriter, close: str) -> Reading[None]:
    name = yield from read_name(source, ">", close)
    answer.start(name)
    parameters = ParameterWriter(answer, name)
    while True:
        marker = yield from read_layout(source, [PARAMETER, _FUNCTION_END])
        if marker == _FUNCTION_END:
            parameters.finish()
            return
        parameters.begin((yield from read_name(source, ">", close)))
        yield from read_value(source, parameters, _PARAMETER_END, close, trims=True)
        parameters.end()


def read_name(source: Source, end: str, close: str) -> Reading[str]:
    """A name up to ``end``; NoCall when it breaks off or runs over the end of a line."""
    pieces: list[str] = []
    found = yield from source.until([end, "\n", *_tokens(source, close)], pieces.append)
    if found == end:
        return "".join(pieces).strip()
    raise NoCall(f"{end!r} is missing after a name." if found == "\n" else CUT)


def read_value(
    source: Source, parameters: ParameterWriter, end: str, close: str, *, trims: bool
) -> Reading[None]:
    """A parameter's value up to its closing tag; ``trims``: without the line breaks around it."""
    if trims and (yield from source.peek()) == "\n":
        yield from source.literal("\n")
    markers = ["\n" + end, end] if trims else [end]
    found = yield from source.until([*markers, *_tokens(source, close)], parameters.write)
    if found not in markers:
        raise NoCall(CUT)


def _tokens(source: Source, close: str) -> list[str]:
    """The closing tag where it is one token: then it cannot be part of a name or a value."""
    return [close] if close in source.tokens else []
