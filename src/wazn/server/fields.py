"""Fields that a client may send and this version does not act on, and what becomes of them.

Harmless ones are listed in the ``x-wazn-ignored`` header; ones that would change the answer are
refused by name, unless their value asks for what happens anyway; all others are unknown, and
refused unless the server is lenient. Knows names and neutral values, no types.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from wazn.server.errors import Kind, RequestRefused

_MOST_LISTED = 32
_LONGEST_LISTED = 64


@dataclass(frozen=True, slots=True)
class Place:
    """The fields of one object: ``unsupported`` maps a name to the values that ask for nothing."""

    harmless: frozenset[str]
    unsupported: Mapping[str, Sequence[object]]


REQUEST = Place(
    harmless=frozenset(
        {
            "user",
            "metadata",
            "store",
            "service_tier",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_retention",
            "parallel_tool_calls",
        }
    ),
    unsupported={
        # OpenAI
        "tools": ([],),
        "tool_choice": ("none",),
        "functions": ([],),
        "function_call": ("none",),
        "response_format": ({"type": "text"},),
        "modalities": (["text"],),
        "audio": (),
        "prediction": (),
        "web_search_options": (),
        "reasoning_effort": (),
        "verbosity": (),
        # vLLM
        "best_of": (1,),
        "use_beam_search": (False,),
        "length_penalty": (1,),
        "prompt_logprobs": (),
        "echo": (False,),
        "add_generation_prompt": (True,),
        "continue_final_message": (False,),
        "add_special_tokens": (False,),
        "skip_special_tokens": (True,),
        "spaces_between_special_tokens": (True,),
        "include_stop_str_in_output": (False,),
        "truncate_prompt_tokens": (),
        "allowed_token_ids": (),
        "bad_words": ([],),
        "include_reasoning": (True,),
        "return_token_ids": (False,),
        "chat_template": (),
        "documents": ([],),
        "structured_outputs": (),
        "guided_json": (),
        "guided_regex": (),
        "guided_choice": (),
        "guided_grammar": (),
        "cache_salt": (),
        "priority": (0,),
    },
)
MESSAGE = Place(
    harmless=frozenset({"name"}),
    unsupported={
        "tool_calls": ([],),
        "tool_call_id": (),
        "function_call": (),
        "audio": (),
        "refusal": (),
        "annotations": ([],),
    },
)
STREAM_OPTIONS = Place(
    harmless=frozenset({"include_obfuscation"}),
    unsupported={"continuous_usage_stats": (False,)},
)
CONTENT_PART = Place(harmless=frozenset(), unsupported={})


def sort_out(
    extras: Mapping[str, Any], place: Place, *, path: str = "", lenient: bool = False
) -> list[str]:
    """The names that are ignored; RequestRefused at the first field that cannot be.

    ``path`` leads to the object, as in ``messages[2].``; indices are left out of ignored names.
    """
    ignored = []
    place_name = re.sub(r"\[\d+\]", "", path)
    for name, value in extras.items():
        if name in place.unsupported:
            if value is not None and not _is_neutral(value, place.unsupported[name]):
                raise refused(f"{path}{name}", "is not supported yet", "unsupported_parameter")
        elif name in place.harmless:
            if value is not None:
                ignored.append(place_name + name)
        elif lenient:
            ignored.append(place_name + name)
        else:
            raise refused(f"{path}{name}", "is not a known field", "unknown_parameter")
    return ignored


def refused(field: str, what_is_wrong: str, code: str) -> RequestRefused:
    """The error that names a field, which may be any text at all."""
    shown = field if len(field) <= _LONGEST_LISTED else field[:_LONGEST_LISTED] + "…"
    kind = Kind(400, "invalid_request_error", code, shown)
    return RequestRefused(f"{shown} {what_is_wrong}.", kind)


def ignored_header(names: Sequence[str]) -> dict[str, str]:
    """``x-wazn-ignored`` with these names, each once; nothing if there are none.

    A client chose the names: whatever could not stand in a header is percent-encoded.
    """
    unique = list(dict.fromkeys(names))
    if not unique:
        return {}
    listed = [quote(name[:_LONGEST_LISTED], safe="") for name in unique[:_MOST_LISTED]]
    if len(unique) > _MOST_LISTED:
        listed.append(f"and {len(unique) - _MOST_LISTED} more")
    return {"x-wazn-ignored": ", ".join(listed)}


def _is_neutral(value: object, neutral: Sequence[object]) -> bool:
    return any(type(value) is type(other) and value == other for other in neutral)
