"""Chat templates, rendered as Hugging Face renders them, in a sandboxed jinja2.

The dialect: blocks trimmed, ``break`` and ``continue``, ``raise_exception``, ``strftime_now``,
``tojson`` that leaves characters as they are, and the ``generation`` tag, which only marks text.
The sandbox is the first wall; the process around it, with its limits, is the second.
"""

# Jinja imports some modules late, when this process can no longer open a file.
import encodings.unicode_escape  # noqa: F401
import json
import pprint  # noqa: F401
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn

import jinja2.debug  # noqa: F401
from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.ext import loopcontrols as LoopControls
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Refused(Exception):
    """The template itself called raise_exception."""

    kind = "refused"


class TooLong(Exception):
    """The rendered text went over its limit."""

    kind = "output"


class Environment(ImmutableSandboxedEnvironment):
    """The library's sandbox, where touching a private attribute is an error at once.

    By itself it gives an undefined value, which prints as nothing: a way out stays shut, but
    whoever tried it is not told.
    """

    def unsafe_undefined(self, obj: object, attribute: str) -> NoReturn:
        kind = type(obj).__name__
        raise SecurityError(f"access to attribute {attribute!r} of {kind!r} object is unsafe")


class Generation(Extension):
    """``{% generation %}…{% endgeneration %}``: training code marks the answer with it."""

    tags = {"generation"}  # noqa: RUF012  (the library's protocol)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def raise_exception(message: object) -> None:
    raise Refused(str(message))


def strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def prepare(setup: dict[str, Any]) -> Callable[[dict[str, Any]], str]:
    """Compile ``setup["sources"]`` (name → template); ``setup["max_characters"]`` bounds output."""
    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, LoopControls]
    )
    environment.filters["tojson"] = tojson
    environment.globals.update(raise_exception=raise_exception, strftime_now=strftime_now)
    try:
        templates = {
            name: environment.from_string(source) for name, source in setup["sources"].items()
        }
    except TemplateSyntaxError as error:
        raise TemplateError(f"line {error.lineno}: {error.message}") from None
    limit = setup["max_characters"]

    def render(request: dict[str, Any]) -> str:
        pieces = []
        length = 0
        for piece in templates[request["name"]].generate(request["variables"]):
            length += len(piece)
            if length > limit:
                raise TooLong
            pieces.append(piece)
        return "".join(pieces)

    return render
