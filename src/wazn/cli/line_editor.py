"""The line a person types: editing, history, multi-line paste, completion of /commands.

prompt_toolkit does the work and is imported here only, when a conversation really starts on a
terminal. The history stays on this machine, in a file that only its owner may read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wazn.errors import StorageError

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.key_binding.key_processor import KeyPressEvent


def open_line_editor(history: Path, commands: Sequence[str]) -> Callable[[], str]:
    """A function that reads one message; it raises EOFError on Ctrl-D, KeyboardInterrupt on Ctrl-C.

    Enter sends, Alt-Enter begins a new line, a pasted text keeps its lines.
    """
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.output import create_output

    _make_private(history)
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(history)),
        completer=WordCompleter(list(commands), sentence=True),
        complete_while_typing=False,
        multiline=True,
        key_bindings=_key_bindings(),
        prompt_continuation="  ",
        # The answer alone belongs on stdout when that is a file; the prompt is for the person.
        output=None if sys.stdout.isatty() else create_output(stdout=sys.stderr),
    )
    return lambda: session.prompt("> ")


def _make_private(history: Path) -> None:
    try:
        history.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(history, os.O_RDONLY | os.O_CREAT, 0o600))
        history.chmod(0o600)
    except OSError as error:
        raise StorageError(
            f"the history '{history}' cannot be written: {error.strerror}; "
            "set WAZN_HOME to a folder of your own."
        ) from None


def _key_bindings() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings

    bindings = KeyBindings()

    @bindings.add("enter")
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def begin_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings
