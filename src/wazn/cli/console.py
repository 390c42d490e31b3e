"""What every command needs to write: safe text, tables, sizes, JSON, and a line that waits.

Text of a model or a file is foreign: on a terminal its control characters are shown, never obeyed
(an escape sequence could retitle the window or fill the clipboard). Output is UTF-8 whatever the
locale says, so that Arabic and Chinese print as they are.
"""

import io
import json
import os
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TextIO

# C0 and C1 controls but newline and tab, each shown as its symbol in "Control Pictures"; C1 and
# DEL have none of their own there and become U+FFFD.
_VISIBLE = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    **{code: 0xFFFD for code in range(0x7F, 0xA0)},
}

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
ERASE_LINE = "\r\x1b[K"


def prepare_streams() -> None:
    """Write UTF-8 to stdout and stderr; what cannot be encoded is escaped, never an exception."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def printable(text: str) -> str:
    """``text`` with its control characters made visible; newlines and tabs stay."""
    return text.translate(_VISIBLE)


def is_styled(stream: TextIO) -> bool:
    """Whether dim text and line erasing make sense on this stream."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and "NO_COLOR" not in os.environ


def print_error(message: str) -> None:
    """One line on stderr that says who speaks."""
    sys.stderr.write(f"wazn: {printable(' '.join(message.split()))}\n")


def print_note(message: str) -> None:
    """A remark on stderr that is not an error."""
    sys.stderr.write(f"{printable(message)}\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    """One JSON document on one line of stdout; Arabic stays Arabic."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns aligned with spaces; figures (cells that start with a digit) to the right."""
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    right = [
        bool(rows) and all(row[column][:1].isdigit() or row[column] == "-" for row in rows)
        for column in range(len(header))
    ]
    for row in cells:
        aligned = (
            cell.rjust(width) if to_the_right else cell.ljust(width)
            for cell, width, to_the_right in zip(row, widths, right, strict=True)
        )
        sys.stdout.write("  ".join(aligned).rstrip() + "\n")


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Name and value, one pair a line, the values in one column."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        sys.stdout.write(f"{name.ljust(width)}  {printable(value)}\n")


class Waiting:
    """A line on the terminal while something takes long: ``with Waiting("loading smollm2"):``.

    Nothing appears for the first half second, nor when stderr is not a terminal; the line is
    erased at the end. With a total, it shows how much is done.
    """

    QUIET_S = 0.5
    REFRESH_S = 0.2

    def __init__(self, what: str) -> None:
        self._what = printable(what)
        self._total = 0
        self._advanced = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Self:
        if is_styled(sys.stderr):
            self._thread.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def set_total(self, total: int) -> None:
        """How much there is to do, in any unit."""
        self._total = total

    def advance(self, amount: int) -> None:
        """``amount`` more is done."""
        self._advanced += amount

    def note(self, sentence: str) -> None:
        """A remark that stays on the screen."""
        if is_styled(sys.stderr):
            sys.stderr.write(ERASE_LINE)
        print_note(f"wazn: {sentence}")

    def _show(self) -> None:
        if self._done.wait(self.QUIET_S):
            return
        while not self._done.wait(self.REFRESH_S):
            share = f" {100 * self._advanced // self._total} %" if self._advanced else ""
            sys.stderr.write(f"{ERASE_LINE}{self._what} …{share}")
            sys.stderr.flush()
        sys.stderr.write(ERASE_LINE)
        sys.stderr.flush()
