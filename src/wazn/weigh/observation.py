"""One number with its definition, its source and its date, and the words such numbers are told in.

**Entities** are named by where they are counted: `hf:org/name` a repository of the Hugging Face
Hub and `hf:org` all of a publisher's, `ms:owner/name` and `ms:owner` the same on ModelScope,
`ollama:name`, `openrouter:org/model`, `price:provider/model`. Aggregates that a source prints
itself are `country:CN`, `lab:qwen`, `family:qwen` and `group:all`.

**Metrics** are what was counted; METRICS has them with their units. A counter is either of a
window (`downloads_30d`) or since the beginning (`downloads_all_time`, `pulls`), never both. What
is true of an entity rather than counted is a metric too: `created` (days since 1970-01-01), and
properties such as `is:pipeline=text-generation` or `is:base=hf:Qwen/Qwen3-8B` with the value 1 on
each day they were seen.

**Definition** names the way of counting (`hub-api`, `osir-atom-listed`, `ollama-library`): numbers
of two definitions are never added up or put on one line. This module knows no file and no source.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

from wazn.errors import BadObservation

METRICS = {
    "downloads_30d": "downloads",
    "downloads_all_time": "downloads",
    "likes": "likes",
    "derivatives": "repositories",
    "repositories": "repositories",
    "pulls": "pulls",
    "tokens_day": "tokens",
    "tokens_week": "tokens",
    "input_price": "USD per million tokens",
    "output_price": "USD per million tokens",
    "cached_input_price": "USD per million tokens",
    "context": "tokens",
    "size_bytes": "bytes",
    "created": "days since 1970-01-01",
}
PROPERTY = "is:"
PROPERTY_UNIT = "property"
EARLIEST = date(2015, 1, 1)
MAX_NAME = 400

_ENTITY = re.compile(
    r"(hf|ms|ollama|openrouter|price|country|lab|family|group):[^\s\x00-\x1f\x7f]+"
)
_WORD = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Observation:
    """`value` of `metric` for `entity` on `as_of`, as `source` counted it under `definition`.

    `captured_at` is when wazn got hold of it (UTC); `raw_sha256` is the hash of the response or
    file it was read from. Raises BadObservation, naming the field and the value.
    """

    entity: str
    metric: str
    value: float
    unit: str
    as_of: date
    captured_at: datetime
    source: str
    definition: str
    raw_sha256: str

    def __post_init__(self) -> None:
        self._require(bool(_ENTITY.fullmatch(self.entity)), "entity", "such as hf:org/name")
        self._require(len(self.entity) <= MAX_NAME, "entity", f"at most {MAX_NAME} characters")
        self._require(self.unit == unit_of(self.metric), "unit", repr(unit_of(self.metric)))
        self._require(_is_amount(self.value), "value", "a finite number, zero or more")
        self._require(type(self.as_of) is date, "as_of", "a date")
        self._require(type(self.captured_at) is datetime, "captured_at", "a time in UTC")
        self._require(self.captured_at.tzinfo is UTC, "captured_at", "a time in UTC")
        self._require(self.as_of >= EARLIEST, "as_of", f"{EARLIEST} or later")
        for name in ("source", "definition"):
            self._require(bool(_WORD.fullmatch(getattr(self, name))), name, "such as hub-api")
        self._require(bool(_SHA256.fullmatch(self.raw_sha256)), "raw_sha256", "64 hex digits")

    def _require(self, is_met: bool, field: str, expected: str) -> None:
        if not is_met:
            value = str(getattr(self, field))[:MAX_NAME]
            raise BadObservation(
                f"{field} of an observation of {self.entity[:MAX_NAME]!r} is {value!r}; "
                f"it must be {expected}."
            )


def unit_of(metric: str) -> str:
    """The unit that a metric is counted in; raises BadObservation for an unknown metric."""
    if metric.startswith(PROPERTY):
        name, found, value = metric.removeprefix(PROPERTY).partition("=")
        if _WORD.fullmatch(name) and found and value and not re.search(r"[\s\x00-\x1f\x7f]", value):
            return PROPERTY_UNIT
        raise BadObservation(f"property {metric[:MAX_NAME]!r} is not of the form is:name=value.")
    if metric not in METRICS:
        raise BadObservation(
            f"there is no metric {metric[:MAX_NAME]!r}; known are {', '.join(METRICS)} "
            "and properties such as is:pipeline=text-generation."
        )
    return METRICS[metric]


def _is_amount(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0  # type: ignore[arg-type, operator]
