"""What a server says about how often it may be asked, read from its headers.

Knows `Retry-After` (RFC 9110: seconds or a date) and `RateLimit` with `RateLimit-Policy` (IETF
draft httpapi-ratelimit-headers 09, as the Hugging Face Hub sends them: `"api";r=499;t=264` and
`"fixed window";"api";q=500;w=300`). Headers that make no sense are as good as absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_ITEM = re.compile(r'"?([\w. -]{1,40})"?\s*((?:;\s*\w+\s*=\s*\d{1,9}\s*)+)')
_PARAMETER = re.compile(r"(\w+)\s*=\s*(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Allowance:
    """`remaining` requests may follow within `reset_s` seconds; `quota` is what a window of
    `window_s` seconds allows, where the server says so."""

    remaining: int
    reset_s: float
    quota: int | None = None
    window_s: float | None = None

    def __str__(self) -> str:
        if self.quota is None or self.window_s is None:
            return f"{self.remaining} requests left"
        return f"{self.remaining} of {self.quota} requests left in a window of {self.window_s:g} s"


def allowance(headers: Mapping[str, str]) -> Allowance | None:
    """The tightest of the limits that a response states; None when it states none."""
    stated = {
        name: parameters
        for name, parameters in _items(headers.get("RateLimit", ""))
        if "r" in parameters and "t" in parameters
    }
    if not stated:
        return None
    name = min(stated, key=lambda one: stated[one]["r"])
    policies = dict(_items(headers.get("RateLimit-Policy", "")))
    policy = policies.get(name, {})
    return Allowance(
        stated[name]["r"], float(stated[name]["t"]), policy.get("q"), _seconds(policy.get("w"))
    )


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """How many seconds the server wants us to wait; None when it does not say."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _items(header: str) -> list[tuple[str, dict[str, int]]]:
    """`"api";r=1;t=2, "pages";…` → names with their parameters."""
    return [
        (match[1].strip(), {key: int(value) for key, value in _PARAMETER.findall(match[2])})
        for match in _ITEM.finditer(header)
    ]


def _seconds(value: int | None) -> float | None:
    return None if value is None else float(value)
