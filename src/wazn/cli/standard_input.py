"""The prompt a command was given: ``-p``, standard input, or both.

Standard input is read when it is a file or a pipe, to its end, and must be UTF-8 text. A terminal
is never read here. It refuses to guess an encoding and to swallow what cannot be a prompt.
"""

import os
import select
import stat
import sys

from wazn.cli.console import print_note
from wazn.errors import BadRequest

MAX_INPUT_BYTES = 16 << 20  # a million-token context is about 4 MB of text
SILENCE_S = 2.0


def read_prompt(option: str | None) -> str | None:
    """The text of ``-p`` followed by what was piped in; None when there is neither.

    Raises BadRequest when standard input is no text or longer than ``MAX_INPUT_BYTES``.
    """
    piped = _read_piped()
    if option is None:
        return piped or None
    prompt = read_argument("-p", option)
    return f"{prompt}\n\n{piped}" if piped else prompt


def read_argument(name: str, value: str) -> str:
    """The text of an argument, whatever the locale says about its encoding.

    Raises BadRequest when the bytes that the shell handed over are not UTF-8.
    """
    return _decode(os.fsencode(value), name)


def is_interactive() -> bool:
    """Whether a person sits at standard input."""
    return sys.stdin is not None and sys.stdin.isatty()


def _read_piped() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    descriptor = sys.stdin.fileno()
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        _announce_silence(descriptor)
    # One more than allowed, so that an endless producer is noticed and not collected.
    content = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
    if len(content) > MAX_INPUT_BYTES:
        raise BadRequest(
            f"standard input is longer than {MAX_INPUT_BYTES >> 20} MiB; give a shorter text."
        )
    return _decode(content, "standard input").removesuffix("\n").removesuffix("\r")


def _announce_silence(descriptor: int) -> None:
    """Say that we are waiting: a pipe that nobody closes would otherwise look like a hang."""
    ready, _, _ = select.select([descriptor], [], [], SILENCE_S)
    if not ready:
        print_note("wazn: waiting for standard input to end (use </dev/null if there is none)")


def _decode(content: bytes, what: str) -> str:
    zero = content.find(b"\0")
    if zero >= 0:
        raise BadRequest(f"{what} is binary (a zero byte at offset {zero}); give text in UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"{what} is not UTF-8 (byte 0x{content[error.start]:02x} at offset {error.start}); "
            "convert it first, for example with iconv -f LATIN1 -t UTF-8."
        ) from None
