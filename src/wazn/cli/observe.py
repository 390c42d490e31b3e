"""``wazn observe``: ask public services for their counters, or import a series, and say what came.

Every command but ``import``, ``list`` and ``faults`` uses the network. What is wrong with an
answer or a number is told after the capture; progress goes to stderr.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wazn.cli.console import print_error, print_json, print_note, print_table, printable
from wazn.cli.observed import (
    Progress,
    fault_object,
    import_object,
    line_object,
    print_summary,
    summary_object,
)
from wazn.cli.options import JSONFlag, new_app, with_options

if TYPE_CHECKING:
    from wazn.settings import Settings
    from wazn.weigh.folders import Folders
    from wazn.weigh.sources import Source

observe = new_app(
    help="""Collect adoption counters and prices, or import series.

    Each number is kept with its definition, source and date.

    \b
    Example:
      wazn observe hub
      wazn observe import ollama_pulls_daily.csv.gz
    """,
)

Partial = Annotated[
    bool, typer.Option("--partial", help="Store what came although some requests failed.")
]


def _parse_day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not a day such as 2025-10-31.") from None


@dataclass(frozen=True, slots=True)
class HubOptions:
    """What to ask the Hub for."""

    publisher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only this publisher; may be given several times. Else all known ones.",
        ),
    ] = None
    top: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The most downloaded repositories of anybody."),
    ] = None
    everything: Annotated[
        bool, typer.Option("--everything", help="All of the Hub: about 2 500 requests.")
    ] = False
    derivatives_above: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="DOWNLOADS",
            help="Also ask for the derivatives of repositories with so many downloads a month.",
        ),
    ] = None


@with_options
def hub(partial: Partial = False, json: JSONFlag = False, *, options: HubOptions) -> None:
    """Downloads and likes of repositories on the Hugging Face Hub.

    \b
    Example:
      wazn observe hub --publisher Qwen --publisher meta-llama
    """
    from wazn.weigh.attribution import publishers
    from wazn.weigh.sources.hub import Hub

    wide = options.top is not None or options.everything
    if (options.top is not None and options.everything) or (wide and options.publisher):
        raise typer.BadParameter("--publisher, --top and --everything exclude each other.")
    asked = None if wide else options.publisher or publishers("hf")
    settings = _online_settings("hub")
    source = Hub(settings, asked, options.top, options.derivatives_above)
    _capture([source], settings, partial, json)


observe.command("hub")(hub)


@observe.command()
def modelscope(
    owner: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only this owner; may be given several times. Else all known ones."
        ),
    ] = None,
    partial: Partial = False,
    json: JSONFlag = False,
) -> None:
    """Downloads of models on ModelScope since the beginning.

    \b
    Example:
      wazn observe modelscope --owner Qwen
    """
    from wazn.weigh.attribution import publishers
    from wazn.weigh.sources.modelscope import ModelScope

    settings = _online_settings("modelscope")
    _capture([ModelScope(settings, owner or publishers("ms"))], settings, partial, json)


@observe.command()
def ollama(json: JSONFlag = False) -> None:
    """Pulls of the models in Ollama's library, as its site rounds them.

    \b
    Example:
      wazn observe ollama --json
    """
    from wazn.weigh.sources.ollama import Ollama

    settings = _online_settings("ollama")
    _capture([Ollama(settings)], settings, False, json)


@observe.command()
def openrouter(
    since: Annotated[
        date | None,
        typer.Option(
            parser=_parse_day,
            metavar="DATE",
            help="First day; needs a key (WAZN_OPENROUTER_TOKEN). Else the last 30 days.",
        ),
    ] = None,
    partial: Partial = False,
    json: JSONFlag = False,
) -> None:
    """Tokens a day through OpenRouter, by model.

    \b
    Example:
      wazn observe openrouter
    """
    from wazn.weigh.sources.openrouter import BEGINNING, OpenRouter

    settings = _online_settings("openrouter")
    if since is not None and settings.openrouter_token is None:
        raise typer.BadParameter(
            "--since needs a key of OpenRouter: set WAZN_OPENROUTER_TOKEN. Without one there are "
            "the last 30 days."
        )
    today = datetime.now(UTC).date()
    _capture([OpenRouter(settings, since or BEGINNING, today)], settings, partial, json)


@observe.command()
def prices(json: JSONFlag = False) -> None:
    """List prices of three catalogues: genai-prices, litellm and OpenRouter.

    \b
    Example:
      wazn observe prices
    """
    from wazn.weigh.sources.genai_prices import GenaiPrices
    from wazn.weigh.sources.litellm_prices import LitellmPrices
    from wazn.weigh.sources.openrouter_prices import OpenRouterPrices

    settings = _online_settings("prices")
    catalogues = [GenaiPrices(settings), LitellmPrices(settings), OpenRouterPrices(settings)]
    _capture(catalogues, settings, False, json)


@observe.command("import")
def import_series(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="CSV files, also in gzip.")],
    json: JSONFlag = False,
) -> None:
    """Import published series, recognised by their header line.

    \b
    Example:
      wazn observe import ollama_pulls_daily.csv.gz
    """
    from wazn.weigh.importing import import_file

    folders = _folders()
    results = [(path, import_file(path, folders)) for path in files]
    if json:
        print_json([import_object(path, imported) for path, imported in results])
        return
    for path, imported in results:
        print(
            f"{path}: {imported.format}, {imported.first} to {imported.last}: "
            f"{imported.num_rows} rows, {imported.num_new} of them new"
        )


@observe.command("list")
def list_stored(json: JSONFlag = False) -> None:
    """List what is stored, by source, definition and metric.

    \b
    Example:
      wazn observe list
    """
    from wazn.weigh.history import stored_lines

    lines = stored_lines(_folders().store.connect())
    if json:
        print_json([line_object(line) for line in lines])
    elif not lines:
        print("Nothing has been observed yet; 'wazn observe --help' lists what can be.")
    else:
        print_table(
            ("source", "definition", "metric", "first day", "last day", "days", "rows"),
            [tuple(str(cell) for cell in line) for line in lines],
        )


@observe.command("faults")
def list_faults(json: JSONFlag = False) -> None:
    """List what is wrong with the counters that are stored.

    \b
    Example:
      wazn observe faults
    """
    from wazn.weigh.history import all_faults

    found = all_faults(_folders().store.connect())
    if json:
        print_json(
            [
                {"source": line.source, "definition": line.definition, **fault_object(fault)}
                for line, fault in found
            ]
        )
    elif not found:
        print("No faults are known.")
    else:
        for line, fault in found:
            print(printable(f"{line.source} {line.definition}: {fault} ({fault.first})"))


def _online_settings(command: str) -> Settings:
    from wazn.errors import FetchError
    from wazn.settings import load_settings

    settings = load_settings()
    if settings.offline:
        raise FetchError(
            f"'wazn observe {command}' asks a public service, which being offline (WAZN_OFFLINE, "
            "--offline) forbids. 'wazn observe import FILE' works without the network."
        )
    return settings


def _folders() -> Folders:
    from wazn.settings import load_settings
    from wazn.weigh.folders import Folders

    return Folders(load_settings().home)


def _capture(sources: Sequence[Source], settings: Settings, partial: bool, as_json: bool) -> None:
    """Capture one source after another, and say what each brought as soon as it has."""
    from wazn.errors import FetchError
    from wazn.weigh.capture import Capture
    from wazn.weigh.folders import Folders
    from wazn.weigh.sources.client import Pace

    summaries, errors = [], []
    for source in sources:
        with Progress(source.name) as progress:
            print_note(f"wazn: asking {source.service.title} at {source.service.endpoint}")
            pace = Pace(say=progress.say)
            try:
                capture = Capture(source, Folders(settings.home), pace, progress)
                summaries.append(capture.run(partial=partial))
            except FetchError as error:  # one catalogue that is down is no reason to miss others
                errors.append(error)
                continue
        if not as_json:
            print_summary(summaries[-1])
    if as_json and summaries:
        objects = [summary_object(summary) for summary in summaries]
        print_json(objects if len(sources) > 1 else objects[0])
    for other in errors[1:]:
        print_error(str(other))
    if errors:
        raise errors[0]
