"""A pseudo terminal with a program in it, as a person would use it: type, and wait for words."""

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])")
_PATIENCE_S = 20.0
FAKE_WAZN = (sys.executable, str(Path(__file__).parent / "fakes.py"))


class Terminal:
    """Runs a command on a terminal of its own; ``shown`` is all it wrote, without styling."""

    def __init__(self, command: Sequence[str]) -> None:
        self._terminal, child = pty.openpty()
        termios.tcsetwinsize(child, (24, 100))
        environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self._process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command],
            stdin=child,
            stdout=child,
            stderr=child,
            env=environment,
        )
        os.close(child)
        self.raw = ""
        self._prompts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    @property
    def shown(self) -> str:
        return _ESCAPE_SEQUENCE.sub("", self.raw).replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def wait_for(self, words: str, times: int = 1) -> None:
        """Until ``words`` have been shown so many times."""
        deadline = time.monotonic() + _PATIENCE_S
        while self.shown.count(words) < times:
            assert self._read(deadline), f"{words!r} did not appear in {self.shown!r}"

    def wait_for_prompt(self) -> None:
        """Until the line editor asks for the next line: keys typed earlier may be lost."""
        self._prompts += 1
        self.wait_for("\n>", times=self._prompts)

    def wait_for_exit(self) -> int:
        """The program's exit status."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._read(deadline):
            pass
        return self._process.wait(timeout=_PATIENCE_S)

    def _read(self, deadline: float) -> bool:
        """Whether something more came before the deadline."""
        ready, _, _ = select.select([self._terminal], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            content = os.read(self._terminal, 65536)
        except OSError:  # how Linux says that the other end is closed
            return False
        self.raw += content.decode(errors="replace")
        return bool(content)
