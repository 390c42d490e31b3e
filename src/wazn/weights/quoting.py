"""How text from a hostile file appears in an error message: quoted, escaped and cut.

A name in a file may hold control characters, half a surrogate pair or megabytes; a message must
stay one printable line.
"""

MAX_QUOTED = 80


def quoted(text: str) -> str:
    """``text`` in quotes on one ASCII-safe line of at most about ``MAX_QUOTED`` characters."""
    if len(text) <= MAX_QUOTED:
        return ascii(text) if not text.isprintable() else repr(text)
    return f"{quoted(text[:MAX_QUOTED])}… ({len(text)} characters)"
