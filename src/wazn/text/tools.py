"""Checks the tools of a request and the calls in its messages, in OpenAI's shape.

A tool is ``{"type": "function", "function": {"name", "description", "parameters"}}``. Description
and parameters may be missing; templates get an empty text and an object without properties.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from wazn.errors import BadRequest

Tool: TypeAlias = Mapping[str, Any]

MAX_TOOLS = 1024
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
_NOTHING: dict[str, Any] = {"type": "object", "properties": {}}


def check_tools(tools: Sequence[Tool] | None) -> list[dict[str, Any]] | None:
    """The tools as templates want them; None where there are none. BadRequest names the fault."""
    if tools is None:
        return None
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        raise BadRequest(
            f"tools is a {type(tools).__name__}; it must be a list of "
            '{"type": "function", "function": …}.'
        )
    if len(tools) > MAX_TOOLS:
        raise BadRequest(f"tools has {len(tools)} entries; at most {MAX_TOOLS} are possible.")
    checked = [_checked(tool, f"tools[{index}]") for index, tool in enumerate(tools)]
    names = [tool["function"]["name"] for tool in checked]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise BadRequest(f"tools[{index}].function.name is {name!r}, which another tool has.")
    return checked


def schemas_of(tools: Sequence[Tool] | None) -> dict[str, Mapping[str, Any]]:
    """Name → JSON schema of the parameters of checked tools."""
    return {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools or ()}


def check_calls(calls: object, name: str) -> list[dict[str, Any]]:
    """The tool calls of a message, their arguments as objects; BadRequest names the fault."""
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise BadRequest(f"{name} is a {type(calls).__name__}; it must be a list of calls.")
    return [_checked_call(call, f"{name}[{index}]") for index, call in enumerate(calls)]


def _checked(tool: object, name: str) -> dict[str, Any]:
    function = _function(tool, name)
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise BadRequest(f"{name}.function.parameters is no object; it must be a JSON schema.")
    description = function.get("description")
    if description is not None and not isinstance(description, str):
        raise BadRequest(f"{name}.function.description is no text.")
    full = {
        "name": function["name"],
        "description": description or "",
        "parameters": parameters or _NOTHING,
    }
    rest = {key: value for key, value in function.items() if key not in full}
    return {"type": "function", "function": full | rest}


def _checked_call(call: object, name: str) -> dict[str, Any]:
    function = _function(call, name)
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"{name}.function.arguments is no JSON ({error}).") from None
    if not isinstance(arguments, Mapping):
        raise BadRequest(f"{name}.function.arguments must be a JSON object, or one as text.")
    assert isinstance(call, Mapping)
    return {**call, "type": "function", "function": {**function, "arguments": arguments}}


def _function(tool: object, name: str) -> Mapping[str, Any]:
    kind = tool.get("type", "function") if isinstance(tool, Mapping) else None
    if not isinstance(tool, Mapping) or kind != "function":
        raise BadRequest(f"{name} has the type {kind!r:.60}; only functions are supported.")
    function = tool.get("function")
    if not isinstance(function, Mapping):
        raise BadRequest(f"{name}.function is missing.")
    if not isinstance(function.get("name"), str) or not _NAME.fullmatch(function["name"]):
        raise BadRequest(
            f"{name}.function.name is {function.get('name')!r:.60}; it must be 1 to 128 letters, "
            "digits or any of _ . : / -."
        )
    return function
