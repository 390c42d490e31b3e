"""What a chat template expects of messages, read off its source.

Templates agree on roles and contents, and differ in the details of tool calls and thinking. What
clients send is the same for all models, so it is put into the form that the template reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ARGUMENTS = r"arguments['\"]?\]?"
_OBJECT = re.compile(
    rf"{_ARGUMENTS}\s*(\|\s*(tojson|items|dictsort)|\.items|is\s+(not\s+)?(string|mapping))"
)
_TEXT = re.compile(rf"{_ARGUMENTS}\s*(\+|~|\}}\}}|-\}}\}})")
_NONE = re.compile(r"(?<!reasoning_)content['\"]?\]?\s+is\s+(not\s+)?none")
_STRING = re.compile(r"(?<!reasoning_)content['\"]?\]?\s+is\s+(not\s+)?string")
_THINKING = re.compile(r"\.thinking\b|['\"]thinking['\"]\s*(\]|in\s+message)")


@dataclass(frozen=True, slots=True)
class Dialect:
    """``wants_text``: arguments as JSON text, not as an object. ``knows_none``: a call is
    known by a missing content; elsewhere an empty text does no harm. ``reasoning``: the field in
    which earlier thinking is looked for.
    """

    wants_text: bool
    knows_none: bool
    reasoning: str

    @classmethod
    def of(cls, source: str) -> Dialect:
        """The dialect of a template."""
        has_own_name = "reasoning_content" not in source and _THINKING.search(source) is not None
        return cls(
            wants_text=_OBJECT.search(source) is None and _TEXT.search(source) is not None,
            knows_none=_NONE.search(source) is not None and _STRING.search(source) is None,
            reasoning="thinking" if has_own_name else "reasoning_content",
        )

    def spoken(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A checked message in this dialect."""
        spoken = dict(message)
        if spoken.get("content") is None and not self.knows_none:
            spoken["content"] = ""
        if self.reasoning != "reasoning_content" and "reasoning_content" in spoken:
            spoken[self.reasoning] = spoken.pop("reasoning_content")
        if self.wants_text and "tool_calls" in spoken:
            spoken["tool_calls"] = [_with_text(call) for call in spoken["tool_calls"]]
        return spoken


def _with_text(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    text = json.dumps(function["arguments"], ensure_ascii=False)
    return {**call, "function": {**function, "arguments": text}}
