"""``wazn report``: who leads, as one HTML page that needs no network to be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import typer

from wazn.cli.console import print_json, print_note
from wazn.cli.options import JSONFlag, with_options
from wazn.cli.weigh import parse_day


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What the page is about."""

    as_of: Annotated[
        date | None, typer.Option(parser=parse_day, metavar="DATE", help="The day; else today.")
    ] = None
    lens: Annotated[
        list[str] | None, typer.Option(help="Only this definition; may be given several times.")
    ] = None
    lang: Annotated[Literal["en", "ar"], typer.Option(help="Language of the page.")] = "en"
    facts: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Published figures from this file.")
    ] = None


@with_options
def report(
    output: Annotated[
        Path, typer.Argument(metavar="FILE.html", help="Where to write the page.")
    ] = Path("wazn-report.html"),
    as_json: JSONFlag = False,
    *,
    options: ReportOptions,
) -> None:
    """Write who leads as one HTML page, complete in itself.

    \b
    Example:
      wazn report who-leads.html --as-of 2025-10-31 --lang ar
    """
    import wazn
    from wazn.cli.output_file import check_writable
    from wazn.settings import load_settings
    from wazn.weigh.folders import Folders
    from wazn.weigh.lens import choose, load_lenses
    from wazn.weigh.published import load_facts
    from wazn.weigh.report.page import Report, page
    from wazn.weigh.report.revisions import revisions
    from wazn.weigh.weighing import Question, weigh
    from wazn.weigh.words import Words

    check_writable(output)
    store = Folders(load_settings().home).store
    facts = load_facts(options.facts)
    question = Question(options.as_of or date.today(), choose(load_lenses(), options.lens or []))
    made = Report(
        weighing=weigh(question, facts, store),
        revisions=revisions(store),
        num_facts=len(facts),
        version=wazn.__version__,
        made_on=date.today(),
    )
    text = page(made, Words(options.lang))
    output.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"path": str(output), "size_bytes": len(text.encode())})
    else:
        print_note(f"wrote {output}")
