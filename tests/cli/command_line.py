"""The types of the fixtures that run commands."""

from collections.abc import Callable
from typing import NamedTuple


class Outcome(NamedTuple):
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str


Run = Callable[..., Outcome]
Pipe = Callable[[bytes], None]
