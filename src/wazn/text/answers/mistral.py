"""The calls of Mistral: a token, then a JSON list, or a name and its arguments.

``[TOOL_CALLS][{"name": …, "arguments": {…}, "id": …}]`` (tokenizer versions 3 to 7), or
``[TOOL_CALLS]NAME[ARGS]{…}`` once for each call (from version 11), with an optional
``[CALL_ID]`` before the arguments.
"""

from __future__ import annotations

from wazn.text.answers.function_tags import read_name
from wazn.text.answers.hermes import read_list, read_remaining_json
from wazn.text.answers.json_values import CUT
from wazn.text.answers.source import Reading, Source
from wazn.text.answers.writer import AnswerWriter, NoCall

OPEN, ARGUMENTS, CALL_ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"
MARKERS = (OPEN, ARGUMENTS, CALL_ID)


def read_mistral(source: Source, answer: AnswerWriter, opener: str) -> Reading[None]:
    """Everything after the opening token."""
    yield from source.spaces()
    if (yield from source.peek()) == "[":
        yield from read_list(source, answer)
        return
    name: list[str] = []
    marker = yield from source.until([ARGUMENTS, CALL_ID, "{", "\n"], name.append)
    call_id: str | None = None
    if marker == CALL_ID:
        call_id = yield from read_name(source, ARGUMENTS, OPEN)
    elif marker == "{":
        source.back("{")
    elif marker != ARGUMENTS:
        raise NoCall(CUT if marker is None else f"{ARGUMENTS} is missing after a name.")
    answer.start("".join(name).strip(), call_id)
    yield from read_remaining_json(source, answer)
