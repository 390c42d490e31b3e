"""The sentences of the observatory, in English and Arabic, and how figures are spelled in them.

Sentences are data (`en.toml`, `ar.toml`) with named places; both files have the same keys. Digits
are 0 to 9 and dates are spelled year-month-day in both languages. Knows no figure.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.resources import files

from wazn.weigh.lens import Language

LEFT_TO_RIGHT, AS_IT_BEGINS, END = "\u2066", "\u2068", "\u2069"
"""Unicode's isolates: their inside has a direction of its own."""

_SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


class Words:
    """What can be said in one language."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        text = (files("wazn.weigh.words") / f"{language}.toml").read_text(encoding="utf-8")
        self._sentences: dict[str, str] = tomllib.loads(text)

    @property
    def keys(self) -> dict[str, str]:
        """Every sentence by its key."""
        return dict(self._sentences)

    def say(self, key: str, **places: object) -> str:
        """The sentence with its places filled in."""
        spelled = {name: self._placed(str(value)) for name, value in places.items()}
        return re.sub(" +([.,;،؛])", r"\1", self._sentences[key].format(**spelled))

    def _placed(self, text: str) -> str:
        """A value as it stands in a sentence: among Arabic letters, dates and Latin text are
        isolated, or the bidirectional algorithm would show 2025-10-31 as 31-10-2025."""
        if self.language != "ar" or not re.search("[A-Za-z]|[0-9]-[0-9]|^[+-]", text):
            return text
        is_figure = re.fullmatch(r"[0-9.%+-]+", text)
        return f"{LEFT_TO_RIGHT if is_figure else AS_IT_BEGINS}{text}{END}"

    def group(self, name: str) -> str:
        """A group, or an entity such as `country:CN`, as people call it."""
        bare = re.sub("^(country|lab|family|group|hf|ollama):", "", name)
        return self._sentences.get(f"group_{bare}", bare)

    def unit(self, name: str) -> str:
        """A unit; one without a translation stays as it is."""
        return self._sentences.get(f"unit_{name}", name)

    def metric(self, name: str) -> str:
        """A metric; one without a translation is spelled with spaces."""
        return self._sentences.get(f"metric_{name}", name.replace("_", " "))

    def listed(self, parts: Iterable[str]) -> str:
        """Several things, one behind the other."""
        return self._sentences["comma"].join(parts)

    def amount(self, value: float, unit: str) -> str:
        """A figure with three or four digits: 550.0 M; shares, ratios and prices as they are."""
        if unit in ("percent", "ratio", "USD"):
            return f"{value:,.10g}"
        for scale, name in _SCALES:
            if value >= scale:
                digits = 2 if value < 10 * scale else 1
                return f"{value / scale:.{digits}f} " + self._sentences[f"decimal_{name}"]
        return f"{value:,.10g}"


def times(ratio: float) -> str:
    """A ratio, to two decimals; a tiny one to two digits."""
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def share(value: float) -> str:
    """A share as a percentage: 0.0055 → 0.55%."""
    return f"{value:.2%}" if value < 0.1 else f"{value:.0%}"


def change(factor: float) -> str:
    """A factor as a signed percentage: 1.125 → +12.5%."""
    return f"{factor - 1:+.1%}"
