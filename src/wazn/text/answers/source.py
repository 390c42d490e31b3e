"""The answer as its grammar reads it: text that is still arriving, with the model's own markers.

Every method that may have to wait is a generator: it yields when it needs more and goes on where
it was, so a grammar is written as if the whole answer lay there. A marker that is one token of the
vocabulary is recognised as that token only; the same letters spelled by other tokens are text. A
marker that is no token is found in the text, and what may be its beginning waits for the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Sequence
from typing import TypeAlias, TypeVar

Result = TypeVar("Result")
Reading: TypeAlias = Generator[None, None, Result]
"""A rule under way; what it returns is its result."""
Sink: TypeAlias = Callable[[str], None]


class Source:
    """What has arrived of one answer and was not read yet."""

    def __init__(self, tokens: Collection[str] = ()) -> None:
        """``tokens``: the markers that the vocabulary holds as single tokens."""
        self.tokens = frozenset(tokens)
        self._parts: deque[tuple[str, bool]] = deque()  # text, is it a token
        self._is_over = False
        self._unsettled: list[str] = []

    def feed(self, text: str, *, is_token: bool = False) -> None:
        """More of the answer; ``is_token``: the text is that of one token of ``tokens``."""
        if text:
            self._parts.append((text, is_token))

    def end(self) -> None:
        """Nothing more will come."""
        self._is_over = True

    @property
    def unsettled(self) -> str:
        """What was read but has not become an event yet."""
        return "".join(self._unsettled)

    def settle(self) -> None:
        """Everything read so far stands in events, or is known to be mere layout."""
        self._unsettled.clear()

    def until(self, markers: Sequence[str], sink: Sink) -> Reading[str | None]:
        """Hands on text until one of the markers has been read; that marker, None at the end."""
        in_text = [marker for marker in markers if marker not in self.tokens]
        while (part := (yield from self._next())) is not None:
            text, is_token = part
            if is_token and text in markers:
                self._unsettled.append(text)
                return text
            start, marker = _earliest(text, in_text)
            if marker:
                self._put_back(text[start + len(marker) :])
                self._put_back(marker, is_token=True)  # it is read by the next turn of the loop
                self._hand_on(text[:start], sink)
                continue
            held = _possible_start(text, in_text)
            beginning = text[len(text) - held :]
            self._put_back(beginning)
            self._hand_on(text[: len(text) - held], sink)
            if held:
                self._parts.popleft()
                if (yield from self._goes_on(markers)):
                    self._put_back(beginning + self._parts.popleft()[0])
                else:
                    self._hand_on(beginning, sink)
        return None

    def some(self, ends: Collection[str] = ()) -> Reading[str]:
        """The next text, however much there is; "" at the end or before a token of ``ends``."""
        part = yield from self._next()
        if part is None:
            return ""
        if part[1] and part[0] in ends:
            self._put_back(part[0], is_token=True)
            return ""
        self._unsettled.append(part[0])
        return part[0]

    def back(self, text: str) -> None:
        """Unreads the last text that was read."""
        if not text:
            return
        last = self._unsettled.pop()
        while len(last) < len(text):
            last = self._unsettled.pop() + last
        assert last.endswith(text)
        self._unsettled.append(last.removesuffix(text))
        self._put_back(text)

    def spaces(self, letters: str | None = None, limit: int | None = None) -> Reading[str]:
        """Reads white space, or those letters only, at most ``limit`` of them."""
        found = ""
        while limit is None or len(found) < limit:
            text = yield from self.some(self.tokens)
            rest = text.lstrip(letters)
            length = len(text) - len(rest)
            if limit is not None:
                length = min(length, limit - len(found))
            found += text[:length]
            self.back(text[length:])
            if length < len(text) or not text:
                break
        return found

    def peek(self) -> Reading[str]:
        """The next character, left where it is; "" at the end or before a token."""
        text = yield from self.some(self.tokens)
        self.back(text)
        return text[:1]

    def is_at_end(self) -> Reading[bool]:
        """Whether nothing follows any more."""
        part = yield from self._next()
        if part is None:
            return True
        self._parts.appendleft(part)
        return False

    def literal(self, marker: str) -> Reading[bool]:
        """Whether the answer goes on with the marker, which is then read."""
        if marker in self.tokens:
            part = yield from self._next()
            if part is None:
                return False
            if part == (marker, True):
                self._unsettled.append(marker)
                return True
            self._put_back(*part)
            return False
        text = ""
        while len(text) < len(marker) and marker.startswith(text):
            more = yield from self.some(self.tokens)
            if not more:
                break
            text += more
        if text.startswith(marker):
            self.back(text[len(marker) :])
            return True
        self.back(text)
        return False

    def _next(self) -> Reading[tuple[str, bool] | None]:
        while not self._parts:
            if self._is_over:
                return None
            yield
        return self._parts.popleft()

    def _goes_on(self, markers: Sequence[str]) -> Reading[bool]:
        """Waits for what follows; whether it is more text, not the end and none of the markers."""
        part = yield from self._next()
        if part is None:
            return False
        self._parts.appendleft(part)
        return not (part[1] and part[0] in markers)

    def _put_back(self, text: str, is_token: bool = False) -> None:
        if text:
            self._parts.appendleft((text, is_token))

    def _hand_on(self, text: str, sink: Sink) -> None:
        if text:
            self._unsettled.append(text)
            sink(text)


def _earliest(text: str, markers: Sequence[str]) -> tuple[int, str]:
    """Where the first marker stands, of several there the longest; "" if there is none."""
    found = [(text.find(marker), -len(marker), marker) for marker in markers]
    found = [each for each in found if each[0] >= 0]
    return (min(found)[0], min(found)[2]) if found else (0, "")


def _possible_start(text: str, markers: Sequence[str]) -> int:
    """Length of the longest end of the text that begins some marker."""
    for length in range(min(len(text), max(map(len, markers), default=1) - 1), 0, -1):
        if any(marker.startswith(text[len(text) - length :]) for marker in markers):
            return length
    return 0
