"""Which parts of a text are marker tokens, though what precedes them was held back for a while.

Stop strings are searched in the plain text and may delay any of it; the places of the markers are
kept beside it by counting characters. Knows nothing of what the markers mean.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator


class MarkedText:
    """Text arrives, is delayed elsewhere, and is cut at its markers when it is passed on."""

    def __init__(self) -> None:
        self._num_arrived = 0
        self._num_passed = 0
        self._markers: deque[tuple[int, int]] = deque()  # first character, the one behind the last
        self._held = ""  # part of a marker whose rest is still delayed

    def arrive(self, text: str, marker: str = "") -> None:
        """More text, which ends with a marker if one is given."""
        self._num_arrived += len(text)
        if marker:
            self._markers.append((self._num_arrived - len(marker), self._num_arrived))

    def pass_on(self, text: str, *, is_last: bool = False) -> Iterator[tuple[str, bool]]:
        """The text in pieces, each with whether it is a marker; a part of one waits for its rest.

        ``is_last``: no rest comes any more, so a part of a marker is text like any other.
        """
        text, self._held = self._held + text, ""
        while text and self._markers and self._markers[0][0] < self._num_passed + len(text):
            first, behind = self._markers[0]
            before, text = self._taken(text, first - self._num_passed)
            if before:
                yield before, False
            if behind > self._num_passed + len(text):
                break
            self._markers.popleft()
            marker, text = self._taken(text, behind - first)
            yield marker, True
        else:
            if text:
                yield self._taken(text, len(text))[0], False
            return
        if is_last:
            yield text, False
        else:
            self._held = text

    def _taken(self, text: str, length: int) -> tuple[str, str]:
        self._num_passed += length
        return text[:length], text[length:]
