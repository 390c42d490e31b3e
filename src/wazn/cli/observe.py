"""``wazn observe``: ask public services for their counters, or import a series, and say what came.

Every command but ``import``, ``list`` and ``faults`` uses the network. What is wrong with an
answer or a number is told after the capture; progress goes to stderr.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wazn.cli.console import ERASE_LINE, is_styled, print_json, print_note, print_table, printable
from wazn.cli.options import JSONFlag, new_app, with_options

if TYPE_CHECKING:
    from wazn.settings import Settings
    from wazn.weigh.capture import Summary
    from wazn.weigh.faults import Fault
    from wazn.weigh.folders import Folders
    from wazn.weigh.sources import Source

MOST_FAULTS_SHOWN = 20
_REQUESTS_A_LINE = 25  # where stderr is not a terminal

observe = new_app(
    help="""Collect adoption counters and prices, each with its definition, source and date.

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
        print_json([_import_object(path, imported) for path, imported in results])
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
        print_json([_line_object(line) for line in lines])
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
                {"source": line.source, "definition": line.definition, **_fault_object(fault)}
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
    from wazn.weigh.capture import Capture
    from wazn.weigh.folders import Folders
    from wazn.weigh.sources.client import Pace

    summaries = []
    for source in sources:
        with Progress(source.name) as progress:
            print_note(f"wazn: asking {source.service.title} at {source.service.endpoint}")
            pace = Pace(say=progress.say)
            capture = Capture(source, Folders(settings.home), pace, progress)
            summaries.append(capture.run(partial=partial))
        if not as_json:
            _print_summary(summaries[-1])
    if as_json:
        objects = [_summary_object(summary) for summary in summaries]
        print_json(objects[0] if len(objects) == 1 else objects)


class Progress:
    """How far a capture is, on stderr: a line that is rewritten, or one now and then."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_styled = is_styled(sys.stderr)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._erase()

    def asking(self, what: str, num_done: int, num_waiting: int) -> None:
        """A request goes out."""
        line = f"{self._name}: request {num_done + 1} of {num_done + num_waiting}: {what}"
        if self._is_styled:
            sys.stderr.write(f"{ERASE_LINE}{printable(line)[:78]}")
            sys.stderr.flush()
        elif num_done and num_done % _REQUESTS_A_LINE == 0:
            print_note(f"wazn: {line}")

    def say(self, clause: str) -> None:
        """A remark that stays."""
        self._erase()
        print_note(f"wazn: {clause}")

    def _erase(self) -> None:
        if self._is_styled:
            sys.stderr.write(ERASE_LINE)
            sys.stderr.flush()


def _print_summary(summary: Summary) -> None:
    resumed = f", {summary.num_resumed} of them earlier" if summary.num_resumed else ""
    print(
        f"{summary.source}, {summary.as_of}: {summary.num_entities} entities, {summary.num_rows} "
        f"rows, {summary.num_new} of them new; {summary.num_requests} requests{resumed}"
    )
    for reason, count in summary.left_out.most_common():
        print(f"  left out: {count} {reason}")
    for fault in summary.faults[:MOST_FAULTS_SHOWN]:
        print(printable(f"  {fault}"))
    rest = Counter(str(fault.kind) for fault in summary.faults[MOST_FAULTS_SHOWN:])
    if rest:
        told = ", ".join(f"{count} {kind}" for kind, count in rest.most_common())
        print(f"  and {told}: {summary.record}")


def _summary_object(summary: Summary) -> dict[str, Any]:
    return {
        "source": summary.source,
        "as_of": str(summary.as_of),
        "requests": summary.num_requests,
        "resumed": summary.num_resumed,
        "entities": summary.num_entities,
        "rows": summary.num_rows,
        "new_rows": summary.num_new,
        "left_out": dict(summary.left_out),
        "faults": [_fault_object(fault) for fault in summary.faults],
        "record": str(summary.record),
    }


def _fault_object(fault: Fault) -> dict[str, str]:
    return {
        "kind": str(fault.kind),
        "entity": fault.entity,
        "metric": fault.metric,
        "first": str(fault.first),
        "last": str(fault.last),
        "detail": fault.detail,
    }


def _import_object(path: Path, imported: Any) -> dict[str, Any]:
    return {
        "file": str(path),
        "format": imported.format,
        "definitions": list(imported.definitions),
        "rows": imported.num_rows,
        "new_rows": imported.num_new,
        "first": str(imported.first),
        "last": str(imported.last),
    }


def _line_object(line: Any) -> dict[str, Any]:
    names = ("source", "definition", "metric", "first", "last", "days", "rows")
    values = (cell if isinstance(cell, int) else str(cell) for cell in line)
    return dict(zip(names, values, strict=True))
