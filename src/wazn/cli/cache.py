"""``wazn cache``: the weights that were packed for this machine, and the room they take."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from wazn.cli.console import print_json, print_table
from wazn.cli.options import JSONFlag, new_app, parse_size
from wazn.weights.disk import format_bytes

if TYPE_CHECKING:
    from wazn.weights.packed_cache import PackedCache

cache = new_app(
    help="""List or free the cache of packed weights.

    A model is packed once, at its first start, and mapped from here afterwards; an entry that is
    freed is packed again when it is needed.

    \b
    Example:
      wazn cache list
      wazn cache prune --limit 20GB
    """,
)


@cache.command("list")
def list_entries(json: JSONFlag = False) -> None:
    """List the packed models, the last used first.

    \b
    Example:
      wazn cache list --json
    """
    entries = _packed_cache().entries()
    if json:
        print_json(
            [
                {
                    "model": entry.model,
                    "weights": entry.weights,
                    "path": str(entry.path),
                    "size_bytes": entry.size_bytes,
                    "last_used": entry.last_used,
                }
                for entry in entries
            ]
        )
    elif not entries:
        print("The cache is empty.")
    else:
        rows = [
            (
                *(entry.model, entry.weights, format_bytes(entry.size_bytes)),
                _date(entry.last_used),
            )
            for entry in entries
        ]
        print_table(("model", "weights", "size", "last used"), rows)


@cache.command()
def prune(
    limit: Annotated[
        int | None,
        typer.Option(parser=parse_size, metavar="SIZE", help="Room to keep; else --cache-limit."),
    ] = None,
    json: JSONFlag = False,
) -> None:
    """Free what was unused the longest until the rest fits a limit.

    \b
    Example:
      wazn cache prune --limit 20GB
    """
    packed = _packed_cache()
    allowed = packed.limit if limit is None else limit
    if allowed is None:
        raise typer.BadParameter("no limit is set; give --limit SIZE, such as --limit 20GB.")
    _say_freed(packed.prune(allowed), json)


@cache.command()
def clear(json: JSONFlag = False) -> None:
    """Free the whole cache.

    \b
    Example:
      wazn cache clear
    """
    _say_freed(_packed_cache().clear(), json)


def _packed_cache() -> PackedCache:
    from wazn.settings import load_settings
    from wazn.weights.packed_cache import PackedCache

    return PackedCache(load_settings())


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _say_freed(num_bytes: int, json: bool) -> None:
    if json:
        print_json({"freed_bytes": num_bytes})
    else:
        print(f"{format_bytes(num_bytes)} freed")
