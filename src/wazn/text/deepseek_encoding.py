"""The prompts of DeepSeek V3.2 and V4, whose makers ship no chat template but a description.

Both turn a conversation into the same markers and write calls as DSML; they differ in how results
of calls are told, and in what becomes of earlier thinking. An encoding is used where a checkpoint
has no template of its own, and offers what a ``ChatTemplate`` offers.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from wazn.errors import BadRequest
from wazn.text.deepseek_wording import DSML, EFFORT_MAX_V4, TOOLS_V4, TOOLS_V32
from wazn.text.families import ANSWER_MARKERS
from wazn.text.messages import Message, check_messages
from wazn.text.prompt import Marker, Prompt, mark_speech
from wazn.text.tokenizer import Tokenizer
from wazn.text.tools import Tool, check_tools

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
REMINDER = "<｜latest_reminder｜>"
THINK, END_THINK = "<think>", "</think>"

_EFFORTS = (None, "high", "max")
_ASKING = ("user", "developer")


class DeepSeekEncoding(ABC):
    """What both versions share; ``sources`` shows by what the format is known."""

    sources: Mapping[str, str]
    _block: str  # the name of the tag around calls
    _tools: str  # the sentences around the tools
    _roles: tuple[str, ...]

    def __init__(self) -> None:
        self.sources = {"default": self._tools}
        self._marker = Marker(())

    def use_tokens_of(self, tokenizer: Tokenizer) -> None:
        """Let nothing that is said become one of this tokenizer's special tokens."""
        self._marker = Marker(tokenizer.control_texts, ANSWER_MARKERS)

    def prompt(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool = True,
        tools: Sequence[Tool] | None = None,
        *,
        thinking: bool = False,
        reasoning_effort: str | None = None,
        **others: Any,
    ) -> Prompt:
        """The prompt; BadRequest for malformed messages and for variables that mean nothing here.

        ``reasoning_effort`` "max" asks V4 for more than its usual thinking.
        """
        unknown = sorted(name for name, value in others.items() if value is not None)
        if unknown:
            raise BadRequest(f"{unknown[0]} means nothing to this model's prompt format.")
        if reasoning_effort not in _EFFORTS:
            raise BadRequest(
                f"reasoning_effort is {reasoning_effort!r:.40}; it must be 'high' or 'max'."
            )
        checked = [self._checked(one, at) for at, one in enumerate(check_messages(messages))]
        offered = check_tools(tools)
        if offered:
            if checked[0]["role"] != "system":
                checked.insert(0, {"role": "system", "content": ""})
            checked[0] = {**checked[0], "tools": offered}
        mark, said = mark_speech(self._marker, {"messages": checked}, ())
        effort = EFFORT_MAX_V4 if reasoning_effort == "max" and thinking else ""
        text = self._encoded(said["messages"], thinking, effort, add_generation_prompt)
        return Prompt(text, mark)

    def render(self, messages: Sequence[Message], *arguments: Any, **variables: Any) -> str:
        """The prompt as plain text; arguments and errors are those of ``prompt``."""
        return self.prompt(messages, *arguments, **variables).text

    def close(self) -> None:  # noqa: B027  (a template ends its process here)
        """Nothing to end: no foreign code is run."""

    @abstractmethod
    def _encoded(
        self, messages: list[dict[str, Any]], thinking: bool, effort: str, asks: bool
    ) -> str:
        """The whole prompt of checked messages; ``asks``: the model is to go on."""

    def _checked(self, message: dict[str, Any], index: int) -> dict[str, Any]:
        role = message["role"]
        if role not in self._roles:
            raise BadRequest(
                f"messages[{index}].role is {role!r:.40}; this model knows "
                f"{', '.join(self._roles)}."
            )
        content = message["content"] or ""
        return {**message, "content": content, "tools": check_tools(message.get("tools"))}

    def _with_tools(self, message: Mapping[str, Any]) -> str:
        """A message's content with the tools it brings along."""
        if not message["tools"]:
            return str(message["content"])
        lines = "\n".join(_json(tool["function"]) for tool in message["tools"])
        return f"{message['content']}\n\n{self._tools % lines}"

    def _calls(self, message: Mapping[str, Any]) -> str:
        """An assistant's calls as DSML."""
        calls = message.get("tool_calls")
        if not calls:
            return ""
        lines = [f"<{DSML}{self._block}>"]
        for call in calls:
            function = call["function"]
            lines.append(f'<{DSML}invoke name="{function["name"]}">')
            parameters = [_parameter(*each) for each in function["arguments"].items()]
            lines += parameters or [""]
            lines.append(f"</{DSML}invoke>")
        return "\n\n" + "\n".join([*lines, f"</{DSML}{self._block}>"])


class DeepSeekV32(DeepSeekEncoding):
    """V3.2, V3.2-Exp and Speciale: results of calls follow the call, in a block of their own."""

    _block = "function_calls"
    _tools = TOOLS_V32
    _roles = ("system", "user", "assistant", "tool")

    def _encoded(
        self, messages: list[dict[str, Any]], thinking: bool, effort: str, asks: bool
    ) -> str:
        if effort:
            raise BadRequest("reasoning_effort means nothing to DeepSeek V3.2; leave it out.")
        newest = _newest_question(messages)
        pieces = [BOS]
        for index, message in enumerate(messages):
            following = messages[index + 1]["role"] if index + 1 < len(messages) else None
            opening = THINK if thinking and index >= newest else END_THINK
            match message["role"]:
                case "system":
                    pieces.append(self._with_tools(message))
                case "user":
                    pieces.append(USER + message["content"])
                    if following or asks:
                        pieces.append(ASSISTANT + opening)
                case "tool":
                    before = messages[index - 1]["role"] if index else None
                    if before not in ("tool", "assistant"):
                        raise BadRequest(f"messages[{index}] is the result of no call.")
                    start = "\n\n<function_results>" if before == "assistant" else ""
                    pieces.append(f"{start}\n<result>{message['content']}</result>")
                    if following != "tool":
                        pieces.append(f"\n</function_results>\n\n{opening}")
                case _:
                    if thinking and index > newest:
                        pieces.append(message.get("reasoning_content", "") + END_THINK)
                    pieces.append(message["content"] + self._calls(message) + EOS)
        return "".join(pieces)


class DeepSeekV4(DeepSeekEncoding):
    """V4-Flash and V4-Pro: results of calls are the user's words, thinking stays beside tools."""

    _block = "tool_calls"
    _tools = TOOLS_V4
    _roles = ("system", "user", "assistant", "tool", "developer", "latest_reminder")

    def _encoded(
        self, messages: list[dict[str, Any]], thinking: bool, effort: str, asks: bool
    ) -> str:
        turns = _merged(messages)
        keeps = any(turn["tools"] for turn in turns)  # all thinking, for the sake of the tools
        if thinking and not keeps:
            newest = _newest_question(turns)
            turns = [
                turn
                for index, turn in enumerate(turns)
                if index >= newest or turn["role"] != "developer"
            ]
        newest = _newest_question(turns)
        pieces = [BOS, effort]
        for index, turn in enumerate(turns):
            following = turns[index + 1]["role"] if index + 1 < len(turns) else None
            match turn["role"]:
                case "system":
                    pieces.append(self._with_tools(turn))
                case "latest_reminder":
                    pieces.append(REMINDER + turn["content"])
                case "user" | "developer":
                    pieces.append(USER + self._with_tools(turn))
                    answered = following in ("assistant", "latest_reminder")
                    if answered or (following is None and asks):
                        thinks = thinking and (keeps or index >= newest)
                        pieces.append(ASSISTANT + (THINK if thinks else END_THINK))
                case _:
                    if thinking and (keeps or index > newest):
                        pieces.append(turn.get("reasoning_content", "") + END_THINK)
                    pieces.append(turn["content"] + self._calls(turn) + EOS)
        return "".join(pieces)


def _merged(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with results of calls, in the calls' order, made parts of the user's turn."""
    turns: list[dict[str, Any]] = []
    parts: list[tuple[int, str]] = []  # rank, text of the turn that is being put together
    order: dict[str, int] = {}
    for message in messages:
        role = message["role"]
        if role == "assistant":
            calls = message.get("tool_calls", ())
            order = {call.get("id", ""): rank for rank, call in enumerate(calls)}
        if role not in ("user", "tool"):
            parts = []
            turns.append(message)
            continue
        if not parts:
            turns.append({"role": "user", "content": "", "tools": None})
        if role == "tool":
            rank = order.get(message.get("tool_call_id", ""), 0)
            parts.append((rank, f"<tool_result>{message['content']}</tool_result>"))
        else:
            parts.append((len(order), message["content"]))
        turns[-1]["content"] = "\n\n".join(text for _, text in sorted(parts, key=lambda p: p[0]))
        turns[-1]["tools"] = turns[-1]["tools"] or message["tools"]
    return turns


def _newest_question(messages: Sequence[Mapping[str, Any]]) -> int:
    """The index of the last message that asks; -1 if none does."""
    places = [index for index, message in enumerate(messages) if message["role"] in _ASKING]
    return places[-1] if places else -1


def _parameter(name: str, value: object) -> str:
    is_text = isinstance(value, str)
    kind = "true" if is_text else "false"
    text = value if is_text else _json(value)
    return f'<{DSML}parameter name="{name}" string="{kind}">{text}</{DSML}parameter>'


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
