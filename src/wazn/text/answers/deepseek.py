"""The calls of DeepSeek: between tokens of their own (V2.5 to V3.1), and as DSML (V3.2, V4).

V3 and R1 write ``…call▁begin｜>function<｜tool▁sep｜>NAME``, a line break and the arguments in a
fence; V3.1 writes ``…call▁begin｜>NAME<｜tool▁sep｜>`` and the bare arguments. DSML names each
parameter and says whether its value is a string or JSON.
"""

from __future__ import annotations

from wazn.text.answers.function_tags import read_layout, read_name, read_value
from wazn.text.answers.hermes import read_remaining_json
from wazn.text.answers.parameters import ParameterWriter
from wazn.text.answers.source import Reading, Source
from wazn.text.answers.writer import AnswerWriter, NoCall

CALLS_BEGIN, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL_BEGIN, CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
SEPARATOR = "<｜tool▁sep｜>"
MARKERS = (CALLS_BEGIN, CALLS_END, CALL_BEGIN, CALL_END, SEPARATOR)
DSML_OPENERS = ("<｜DSML｜function_calls>", "<｜DSML｜tool_calls>")  # V3.2, V4

_FENCE = "```"
_DSML = "｜DSML｜"
_INVOKE, _INVOKE_END = f'<{_DSML}invoke name="', f"</{_DSML}invoke>"
_PARAMETER, _PARAMETER_END = f'<{_DSML}parameter name="', f"</{_DSML}parameter>"
_STRING = frozenset({"string"})
_JSON = frozenset({"integer", "number", "boolean", "null", "object", "array"})


def read_deepseek(source: Source, answer: AnswerWriter, opener: str) -> Reading[None]:
    """Everything after the token that begins the calls."""
    while (yield from read_layout(source, [CALL_BEGIN, CALLS_END])) == CALL_BEGIN:
        name = yield from read_name(source, SEPARATOR, CALLS_END)
        is_fenced = (yield from source.peek()) not in ("{", "\n", " ", "")
        if is_fenced:  # what came first was the kind of tool, "function"
            name = yield from read_name(source, "\n", CALLS_END)
        answer.start(name)
        if is_fenced:
            yield from read_layout(source, [_FENCE + "json"])
        yield from read_remaining_json(source, answer)
        if is_fenced:
            yield from read_layout(source, [_FENCE])
        yield from read_layout(source, [CALL_END])
    source.settle()


def read_dsml(source: Source, answer: AnswerWriter, opener: str) -> Reading[None]:
    """Everything after the opening tag."""
    close = opener.replace("<", "</")
    while (yield from read_layout(source, [_INVOKE, close])) == _INVOKE:
        name = yield from read_name(source, '">', close)
        answer.start(name)
        parameters = ParameterWriter(answer, name)
        while (yield from read_layout(source, [_PARAMETER, _INVOKE_END])) == _PARAMETER:
            parameter = yield from read_name(source, '" string="', close)
            kind = yield from read_name(source, '">', close)
            if kind not in ("true", "false"):
                raise NoCall(f'the parameter {parameter} has string="{kind}".')
            parameters.begin(parameter, _STRING if kind == "true" else _JSON)
            yield from read_value(source, parameters, _PARAMETER_END, close, trims=False)
            parameters.end()
        parameters.finish()
    source.settle()
