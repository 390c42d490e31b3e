"""``wazn weigh``: who leads, by which definition, since when, and where that comes from.

Reads the store, a dump, and the published figures of the package; uses no network. What is said
and how it is spelled belongs to ``wazn.weigh``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wazn.cli.console import print_json, print_note, print_table
from wazn.cli.options import JSONFlag, with_options

if TYPE_CHECKING:
    from wazn.weigh.weighing import Question, Weighing
    from wazn.weigh.words import Words


def parse_day(text: str) -> date:
    """``2025-10-31`` → a date."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not a day such as 2025-10-31.") from None


def parse_pair(text: str) -> tuple[str, str]:
    """``CN:US`` → both names; a comma separates names that have a colon in them."""
    first, found, second = text.partition("," if "," in text else ":")
    if not found or not first or not second or first == second:
        raise typer.BadParameter(f"'{text}' is not a pair such as CN:US or hf:Qwen/a,hf:google/b.")
    return first, second


@dataclass(frozen=True, slots=True)
class WeighOptions:
    """What to weigh, and how to show it."""

    as_of: Annotated[
        date | None, typer.Option(parser=parse_day, metavar="DATE", help="The day; else today.")
    ] = None
    lens: Annotated[
        list[str] | None, typer.Option(help="Only this definition; may be given several times.")
    ] = None
    by: Annotated[
        Literal["country", "lab", "family", "model"], typer.Option(help="Whom to compare.")
    ] = "country"
    pair: Annotated[
        str | None,
        typer.Option(metavar="A:B", help="Which two; else CN:US, or the two largest."),
    ] = None
    explain: Annotated[bool, typer.Option("--explain", help="Show every row behind it.")] = False
    csv: Annotated[bool, typer.Option("--csv", help="Print a table for programs.")] = False
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Also draw the ratios here.")
    ] = None
    lang: Annotated[Literal["en", "ar"], typer.Option(help="Language of the answer.")] = "en"
    facts: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Published figures from this file.")
    ] = None
    dump: Annotated[
        Path | None,
        typer.Option(metavar="FILE.parquet", help="Weigh this dump of the Hub, not the store."),
    ] = None
    backtest: Annotated[
        bool, typer.Option("--backtest", help="Print how good forecasts have been, on all lines.")
    ] = False


@with_options
def weigh(as_json: JSONFlag = False, *, options: WeighOptions) -> None:
    """Say who leads, by which definition, since when.

    Figures come from observations ('wazn observe') and from published figures in the package,
    each with its definition, source and date.

    \b
    Example:
      wazn weigh --as-of 2025-10-31 --explain
    """
    from wazn.weigh.words import Words

    if as_json and options.csv:
        raise typer.BadParameter("--json and --csv exclude each other.")
    if options.backtest:
        return _backtest(options, as_json)
    weighing = _weighing(options)
    words = Words(options.lang)
    if options.plot is not None:
        _plot(weighing, words, options.plot)
    if as_json:
        from wazn.weigh.output import to_object

        print_json(to_object(weighing, options.lang))
    elif options.csv:
        _print_csv(weighing)
    else:
        _print(weighing, words)


def _weighing(options: WeighOptions) -> Weighing:
    from wazn.settings import load_settings
    from wazn.weigh.folders import Folders
    from wazn.weigh.published import load_facts
    from wazn.weigh.weighing import weigh as weigh_store
    from wazn.weigh.weighing import weigh_dump

    facts = load_facts(options.facts)
    question = _question(options)
    if options.dump is not None:
        return weigh_dump(question, facts, options.dump)
    return weigh_store(question, facts, Folders(load_settings().home).store)


def _question(options: WeighOptions) -> Question:
    from wazn.weigh.lens import choose, load_lenses
    from wazn.weigh.weighing import Question

    return Question(
        day=options.as_of or date.today(),
        lenses=choose(load_lenses(), options.lens or []),
        by=options.by,
        pair=parse_pair(options.pair) if options.pair else None,
        explain=options.explain,
    )


def _plot(weighing: Weighing, words: Words, picture: Path) -> None:
    from wazn.weigh.chart import sheet
    from wazn.weigh.pictures import ratio_charts

    charts = ratio_charts(weighing, words)
    if not charts:
        raise typer.BadParameter("there is nothing measured to plot; see 'wazn observe --help'.")
    picture.write_text(sheet(charts), encoding="utf-8")
    print_note(f"drew {picture}")


def _print_csv(weighing: Weighing) -> None:
    import csv
    import sys

    from wazn.weigh.output import TABLE, to_table

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(TABLE)
    writer.writerows(to_table(weighing))


def _print(weighing: Weighing, words: Words) -> None:
    from wazn.weigh.telling import blocks, heading, summary

    print(heading(weighing, words))
    print()
    columns, rows = summary(weighing, words)
    if rows:
        print_table(columns, rows)
    for block in blocks(weighing, words):
        print(f"\n{block.title}" + (f" [{block.lens.id}]" if block.lens else ""))
        if block.lens is not None:
            wording = block.lens.wording[words.language]
            print(f"  {wording.universe} {wording.counts} {wording.country}")
        for sentence in block.sentences:
            print(f"  - {sentence}")
    if weighing.question.explain:
        _print_rows(weighing, words)


def _print_rows(weighing: Weighing, words: Words) -> None:
    """Every row: readings line by line, then facts in full."""
    from wazn.weigh.explaining import fact_rows, reading_rows

    for title, columns, rows in (*reading_rows(weighing, words), *fact_rows(weighing, words)):
        print(f"\n{title}")
        print_table(columns, rows)


def _backtest(options: WeighOptions, as_json: bool) -> None:
    from wazn.settings import load_settings
    from wazn.weigh.backtest import backtest, to_object, to_table
    from wazn.weigh.folders import Folders

    results = backtest(Folders(load_settings().home).store, _question(options))
    if as_json:
        return print_json(to_object(results))
    columns, rows, sentence = to_table(results)
    if rows:
        print_table(columns, rows)
        print()
    print(sentence)
