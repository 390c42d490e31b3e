"""The progress of a download on stderr: a bar on a terminal, one line a file elsewhere.

Fulfils ``wazn.weights.store.Progress``. The bar is rich's, imported when the first file starts,
because almost every start of the program downloads nothing.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from wazn.cli.console import is_styled, print_note, printable
from wazn.weights.disk import format_bytes

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class DownloadProgress:
    """Shows one file after another; as a context manager it leaves the terminal as it was."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> DownloadProgress:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, name: str, total_bytes: int | None, already: int) -> None:
        """A file begins; ``already`` bytes of it are here from an earlier attempt."""
        if not is_styled(sys.stderr):
            facts = [] if total_bytes is None else [format_bytes(total_bytes)]
            facts += [f"{format_bytes(already)} of it are here already"] if already else []
            print_note(f"wazn: {name} ({', '.join(facts)})" if facts else f"wazn: {name}")
            return
        if self._bar is None:
            self._bar = _new_bar()
            self._bar.start()
        self._task = self._bar.add_task(printable(name), total=total_bytes, completed=already)

    def advance(self, num_bytes: int) -> None:
        """``num_bytes`` more have arrived."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, num_bytes)

    def finish(self) -> None:
        """The file is complete."""
        if self._bar is None or self._task is None:
            return
        if self._bar.tasks[self._task].total is None:  # a bar that never knew its end
            self._bar.update(self._task, visible=False)
        self._bar.stop_task(self._task)
        self._bar.refresh()


def _new_bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column

    return Progress(
        TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        BarColumn(bar_width=20),
        DownloadColumn(table_column=Column(no_wrap=True)),
        TransferSpeedColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        console=Console(stderr=True),
        expand=True,
    )
