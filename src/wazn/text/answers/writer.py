"""Collects the events of one answer and keeps them consistent, whatever the wire format.

White space around a call is layout and gets lost; so does that between the thinking and the
answer. Everything else that was read stands in some event: a call that cannot be understood
becomes content, and one that breaks off after its name was told ends with an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from wazn.text.answers.events import (
    ArgumentsDelta,
    ContentDelta,
    Event,
    ReasoningDelta,
    ToolCallEnd,
    ToolCallStart,
)
from wazn.text.answers.source import Source


class NoCall(Exception):
    """What was read is no call, or no complete one; the reason is a sentence."""


class AnswerWriter:
    """The events of one answer; ``tools``: name → JSON schema of the parameters."""

    def __init__(
        self, source: Source, tools: Mapping[str, Mapping[str, Any]], new_id: Callable[[], str]
    ) -> None:
        self.tools = tools
        self.holds_spaces = False
        """Whether white space at the end of the answer so far may turn out to be layout."""
        self._source = source
        self._new_id = new_id
        self._events: list[Event] = []
        self._spaces = ""  # may be layout
        self._is_after_call = False
        self._num_calls = 0
        self._open_name: str | None = None
        self._arguments: list[str] = []

    def take(self) -> list[Event]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def reasoning(self, text: str) -> None:
        """More thinking, as it is."""
        if text:
            self._events.append(ReasoningDelta(text))
        self._source.settle()

    def content(self, text: str) -> None:
        """More of the answer; its trailing white space waits until it is known to count."""
        self._source.settle()
        text = self._spaces + text
        if self._is_after_call:
            text = text.lstrip()
        body = text.rstrip() if self.holds_spaces else text
        self._spaces = text[len(body) :]
        if body:
            self._is_after_call = False
            self._events.append(ContentDelta(body))

    def start(self, name: str, call_id: str | None = None) -> None:
        """A call begins; NoCall when it has no name."""
        if not name:
            raise NoCall("the call has no name.")
        self._source.settle()
        self._spaces = ""
        self._open_name = name
        self._arguments.clear()
        self._events.append(ToolCallStart(self._num_calls, call_id or self._new_id(), name))

    def arguments(self, text: str) -> None:
        """More of the arguments of the call that has begun."""
        self._source.settle()
        if text:
            self._arguments.append(text)
            self._events.append(ArgumentsDelta(self._num_calls, text))

    def end(self) -> None:
        """The call is complete, and checked: known name, arguments that are one JSON object."""
        assert self._open_name is not None
        self._close(self._fault(self._open_name))

    def fail(self, reason: str) -> None:
        """What is read and not settled is no call: it is content, and a call that began ends."""
        unsettled = self._source.unsettled
        if self._open_name is not None:
            self._close(reason)
        self.content(unsettled)

    def drop_spaces(self) -> None:
        """The white space before what was just read is layout."""
        self._spaces = ""

    def finish(self) -> None:
        """The answer is over: white space that no call followed belongs to it."""
        if self._spaces and not self._is_after_call:
            self._events.append(ContentDelta(self._spaces))
        self._spaces = ""

    def _close(self, error: str | None) -> None:
        self._source.settle()
        self._events.append(ToolCallEnd(self._num_calls, error))
        self._num_calls += 1
        self._open_name = None
        self._is_after_call = True

    def _fault(self, name: str) -> str | None:
        text = "".join(self._arguments)
        try:
            arguments = json.loads(text)
        except (ValueError, RecursionError) as error:
            return f"the arguments of {name} are no JSON ({error})."
        if not isinstance(arguments, dict):
            return f"the arguments of {name} are {text[:40]}, not a JSON object."
        if name not in self.tools:
            return f"{name} is none of the tools that were offered: {', '.join(self.tools)}."
        return None
