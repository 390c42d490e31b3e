"""Which normalizers and pre-tokenisers of a foreign file may run in this process.

They come as the JSON of the tokenizers library. A pattern can backtrack for ever and a chain of
replacements can grow a text without bound, so only steps known to be linear pass; a file with any
other step is still served, but by the helper process with its limits (see ``sandbox``).
"""

from collections.abc import Callable

from wazn.text.json_file import JSON
from wazn.text.pre_tokenizers import SAFE_PATTERNS

MAX_STEPS = 16
MAX_GROWTH = 32
"""How many times longer all replacements together may make a text (real files: 3 bytes for 1)."""

_PLAIN_STEPS = frozenset(
    {
        *("NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "StripAccents", "Strip"),
        *("ByteLevel", "Digits", "Metaspace", "Whitespace", "WhitespaceSplit", "Punctuation"),
        *("BertNormalizer", "BertPreTokenizer", "CharDelimiterSplit", "UnicodeScripts"),
    }
)


class _Unknown(Exception):
    """A step that is not known to be safe."""


def safe_pipeline(normalizer: JSON, pre_tokenizer: JSON) -> tuple[JSON, JSON] | None:
    """The same two rules in the form to run in this process; None when they may not run in it."""
    try:
        safe = _each(normalizer, "normalizers", _safe_normalizer)
        if _growth(normalizer) > MAX_GROWTH:
            return None
        return safe, _each(pre_tokenizer, "pretokenizers", _safe_pre_tokenizer)
    except (_Unknown, KeyError, TypeError, AttributeError):
        return None


def _each(rule: JSON, members: str, check: Callable[[JSON], JSON]) -> JSON:
    if rule is None:
        return None
    if rule["type"] != "Sequence":
        return check(rule)
    steps = rule[members]
    if len(steps) > MAX_STEPS:
        raise _Unknown
    return {"type": "Sequence", members: [check(step) for step in steps]}


def _safe_normalizer(step: JSON) -> JSON:
    if step["type"] == "Replace":
        return {**step, "pattern": _safe_pattern(step["pattern"])}
    if step["type"] == "Prepend" or step["type"] in _PLAIN_STEPS:
        return step
    raise _Unknown


def _safe_pre_tokenizer(step: JSON) -> JSON:
    if step["type"] == "Split":
        return {**step, "pattern": _safe_pattern(step["pattern"])}
    if step["type"] in _PLAIN_STEPS:
        return step
    raise _Unknown


def _safe_pattern(pattern: JSON) -> JSON:
    if pattern.get("String"):
        return pattern
    safe = SAFE_PATTERNS.get(pattern["Regex"])
    if safe is None:
        raise _Unknown
    return {"Regex": safe}


def _growth(normalizer: JSON) -> int:
    """The most that the replacements can multiply a text's length by."""
    if normalizer is None:
        return 1
    growth = 1
    for step in normalizer.get("normalizers", [normalizer]):
        if step["type"] == "Replace":
            growth *= max(1, len(step["content"].encode()))
        elif step["type"] == "Prepend":
            growth *= max(1, len(step["prepend"].encode()))
    return growth
