"""Finding stop strings in a stream of text, without ever taking back what was handed on.

The result is a function of the characters alone: the string that is complete first wins (of two
that end together, the longer), however the text was cut into pieces.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Passes text on up to the first stop string; holds back what might become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.is_stopped = False

    def push(self, text: str) -> str:
        """The text that is now certain to precede any stop string."""
        if not self._stops or self.is_stopped:
            return "" if self.is_stopped else text
        text = self._held + text
        matches = [(start + len(stop), start) for stop, start in self._found_in(text)]
        if matches:
            self.is_stopped = True
            self._held = ""
            return text[: min(matches)[1]]
        certain = len(text) - self._possible_start(text)
        self._held = text[certain:]
        return text[:certain]

    def finish(self) -> str:
        """What was held back, now that nothing follows."""
        held, self._held = self._held, ""
        return held

    def _found_in(self, text: str) -> list[tuple[str, int]]:
        starts = [(stop, text.find(stop)) for stop in self._stops]
        return [(stop, start) for stop, start in starts if start >= 0]

    def _possible_start(self, text: str) -> int:
        """Length of the longest end of ``text`` that begins some stop string."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest
