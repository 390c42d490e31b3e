"""Ends the thinking of one completion once it has taken as many tokens as it may.

The family's ending is then put in the place of what was drawn, token by token; after it the model
goes on by itself. A function of the completion's own tokens and nothing else.
"""

from __future__ import annotations

from collections import deque

from wazn.text.thinking_marks import ThinkingMarks


class ThinkingBudget:
    """At most ``budget`` tokens between the markers; markers and the line around them are free."""

    def __init__(
        self, marks: ThinkingMarks, budget: int, *, opened: bool, has_tools: bool = False
    ) -> None:
        """``opened``: the prompt ends inside the thinking. ``has_tools``: there is what to call."""
        self._marks = marks
        self._left = budget
        self._is_thinking = opened
        self._may_begin = not opened or not marks.comes_first
        self._ending = marks.ending_with_tools if has_tools else marks.ending
        self._forced: deque[int] = deque()
        self._recent: deque[int] = deque(maxlen=len(marks.opening))
        self._ends_line = False

    def take(self, drawn: int) -> tuple[int, bool]:
        """The next token, and whether it is forced in the place of the one that was drawn."""
        if not self._left and self._is_thinking and drawn not in self._marks.closing:
            self._cut()
        if self._forced:
            return self._forced.popleft(), True
        self._read(drawn)
        return drawn, False

    def _cut(self) -> None:
        if not self._ends_line:
            self._forced.extend(self._marks.line_break)
        self._forced.extend(self._ending)
        self._ending = self._marks.ending  # one that thinks again instead of calling answers now
        self._is_thinking = False

    def _read(self, token_id: int) -> None:
        if self._is_thinking:
            self._is_thinking = token_id not in self._marks.closing
            self._left -= self._is_thinking
            self._ends_line = self._marks.ends_line(token_id)
        elif self._may_begin:
            self._recent.append(token_id)
            self._is_thinking = tuple(self._recent) == self._marks.opening
            self._ends_line = False
            if self._marks.comes_first and not self._marks.is_blank(token_id):
                self._may_begin = False
