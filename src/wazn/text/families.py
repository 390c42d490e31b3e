"""One row per family: by what its template is known, how it calls tools, how it takes thinking.

The template decides, not the architecture: a fine-tune keeps its weights' family and may speak
another one's format. A row is found by what must stand in the template, the first that fits wins.
How each row was checked is in docs/families.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from wazn.errors import BadRequest
from wazn.text.answers import deepseek, function_tags, harmony, hermes, llama, mistral
from wazn.text.answers.source import Reading, Source
from wazn.text.answers.writer import AnswerWriter
from wazn.text.reasoning import NONE, STYLES, ReasoningStyle, detect_style
from wazn.text.tokenizer import Tokenizer

Reader: TypeAlias = Callable[[Source, AnswerWriter, str], Reading[None]]


@dataclass(frozen=True, slots=True)
class CallFormat:
    """How tools are called: what begins a call, who reads it, all markers that may be tokens."""

    name: str
    openers: tuple[str, ...]
    read: Reader
    markers: tuple[str, ...]
    begins_answer: bool = False
    """Calls need no opener where the answer begins."""


HERMES = CallFormat("hermes", (hermes.OPEN,), hermes.read_hermes, (hermes.OPEN, hermes.CLOSE))
QWEN_TAGS = CallFormat(
    "function-tags",
    (hermes.OPEN, function_tags.FUNCTION),
    function_tags.read_function_tags,
    (hermes.OPEN, hermes.CLOSE),
)
SEED_TAGS = CallFormat(
    "seed-function-tags",
    ("<seed:tool_call>",),
    function_tags.read_function_tags,
    ("<seed:tool_call>", "</seed:tool_call>"),
)
DEEPSEEK = CallFormat("deepseek", (deepseek.CALLS_BEGIN,), deepseek.read_deepseek, deepseek.MARKERS)
DSML = CallFormat("dsml", deepseek.DSML_OPENERS, deepseek.read_dsml, ())
MISTRAL = CallFormat("mistral", (mistral.OPEN,), mistral.read_mistral, mistral.MARKERS)
LLAMA = CallFormat(
    "llama", llama.OPENERS, llama.read_llama, (*llama.OPENERS, llama.PYTHON_END), begins_answer=True
)


@dataclass(frozen=True, slots=True)
class Family:
    """One way to write answers; ``signs`` are texts that all stand in its template.

    ``switch``: the template's variable for thinking; "on" takes True or False, "budget" a number of
    tokens (0 is none). ``answer_tags`` stand around the answer and are no part of it.
    """

    name: str
    signs: tuple[str, ...] = ()
    calls: CallFormat | None = None
    thinking: ReasoningStyle = NONE
    switch: str = ""
    switch_takes: Literal["on", "budget"] = "on"
    answer_tags: tuple[str, ...] = ()
    is_harmony: bool = False

    @property
    def can_call(self) -> bool:
        """Whether calls can be told from text."""
        return self.is_harmony or self.calls is not None

    @property
    def markers(self) -> frozenset[str]:
        """Everything that is read as a token where the vocabulary has it as one."""
        markers = {*self.answer_tags, *self.thinking.markers}
        if self.calls is not None:
            markers.update(self.calls.markers)
        if self.is_harmony:
            markers.update(harmony.MARKERS)
        return frozenset(markers)


FAMILIES = (
    Family("gpt-oss", ("<|start|>", "<|channel|>", "<|message|>"), is_harmony=True),
    Family("deepseek-dsml", ("｜DSML｜",), DSML, switch="thinking"),  # V3.2, V4
    Family("deepseek", ("<｜tool▁calls▁begin｜>",), DEEPSEEK, switch="thinking"),  # V2.5 to V3.1
    Family(
        "seed-oss",
        ("<seed:tool_call>",),
        SEED_TAGS,
        switch="thinking_budget",
        switch_takes="budget",
    ),
    Family("qwen-tags", ("<tool_call>", "<function="), QWEN_TAGS, switch="enable_thinking"),
    Family(
        "ernie-thinking",
        ("<tool_call>", "<response>"),
        HERMES,
        answer_tags=("<response>", "</response>"),
    ),
    Family("hermes", ("<tool_call>",), HERMES, switch="enable_thinking"),  # Qwen2.5, Qwen3
    Family("mistral", ("[TOOL_CALLS]",), MISTRAL),
    Family("llama4", ("<|header_start|>",), LLAMA),
    Family("llama3", ("<|start_header_id|>", "ipython"), LLAMA),
    Family("plain", switch="enable_thinking"),  # no calls: Llama 2, SmolLM2, ERNIE 4.5, Grok-2 …
)


def thinking_variables(family: Family, template: str, *, on: bool) -> dict[str, Any]:
    """What tells this template to think or not to; BadRequest when it has no such switch."""
    if not family.switch or not re.search(rf"\b{family.switch}\b", template):
        raise BadRequest("this model's chat template has no switch for thinking; ask without it.")
    if family.switch_takes == "on":
        return {family.switch: on}
    return {} if on else {family.switch: 0}  # without a budget it thinks as long as it wants


def budget_variables(family: Family, template: str, budget: int) -> dict[str, Any]:
    """What tells this template of a thinking budget in tokens; nothing if it has no such variable.

    Where thinking can only be switched, a budget of 0 switches it off.
    """
    if not family.switch or not re.search(rf"\b{family.switch}\b", template):
        return {}
    if family.switch_takes == "budget":
        return {family.switch: budget}
    return {} if budget else {family.switch: False}


ANSWER_MARKERS = frozenset().union(
    *(style.markers for style in STYLES),
    *(row.markers for row in FAMILIES if not row.is_harmony),
)
"""What the assistant's earlier answers may hold as tokens: thinking and calls, no turns."""


def detect_family(tokenizer: Tokenizer | None, template: str = "") -> Family:
    """The row of a chat template (all its sources), with the thinking markers the model has."""
    row = next(row for row in FAMILIES if all(sign in template for sign in row.signs))
    return row if row.is_harmony else replace(row, thinking=detect_style(tokenizer, template))
