"""The page: claims, lenses at a glance, each lens with its charts, citations, revision log.

Everything it needs is in it: style and charts inline, no script, no font, no address that a
browser would load. Texts of others (sources, notes, names of repositories) are escaped. Knows
nothing of how figures are computed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from importlib.resources import files

from wazn.weigh.attribution import region_changes
from wazn.weigh.chart import STYLE, draw
from wazn.weigh.explaining import used_facts
from wazn.weigh.lens import Lens
from wazn.weigh.output import plain
from wazn.weigh.pictures import charts_of, published_charts
from wazn.weigh.published import Fact, Period
from wazn.weigh.report.revisions import Revisions
from wazn.weigh.telling import blocks, heading, summary
from wazn.weigh.weighing import LensAnswer, Weighing
from wazn.weigh.words import Words

_DATE = re.compile(r"\b\d{4}-\d\d(-\d\d)?\b")


@dataclass(frozen=True, slots=True)
class Report:
    """What a page is made of."""

    weighing: Weighing
    revisions: Revisions
    num_facts: int
    version: str
    made_on: date


def page(report: Report, words: Words) -> str:
    """The whole page as HTML."""
    weighing = report.weighing
    style = (files("wazn.weigh.report") / "style.css").read_text(encoding="utf-8")
    title = f"{words.say('report_title')}: {heading(weighing, words)}"
    parts = [
        f"<h1>{escape(words.say('report_title'))}</h1>",
        f"<p>{escape(heading(weighing, words))}</p>",
        f'<p class="soft">{escape(_made(report, words))}</p>',
        *_answers(weighing, words),
        *_citations(weighing, words),
        *_revision_log(report.revisions, words),
        f"<footer><p>{escape(words.say('report_offline'))}</p></footer>",
    ]
    return (
        f'<!doctype html>\n<html lang="{words.language}" dir="{words.say("direction")}">\n<head>\n'
        '<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>\n{style}{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _made(report: Report, words: Words) -> str:
    return words.say(
        "report_made",
        day=report.made_on.isoformat(),
        version=report.version,
        observations=f"{report.revisions.num_observations:,}",
        facts=f"{report.num_facts:,}",
    )


def _answers(weighing: Weighing, words: Words) -> Iterator[str]:
    by_lens = {answer.lens.id: answer for answer in weighing.answers}
    told = blocks(weighing, words)
    if weighing.claims:
        yield f"<h2>{escape(told[0].title)}</h2>"
        yield f'<div class="claim">{_paragraphs(told[0].sentences)}</div>'
    columns, rows = summary(weighing, words)
    if rows:
        yield f"<h2>{escape(words.say('summary'))}</h2>"
        yield _table(columns, rows)
    for block in told[1:] if weighing.claims else told:
        yield f"<h2>{escape(block.title)}</h2>"
        if block.title == words.say("silent"):
            for lens in (answer.lens for answer in weighing.answers if answer.is_empty):
                yield f"<h3>{escape(lens.wording[words.language].title)}</h3>"
                yield _definition(lens, words)
            continue
        if block.lens is not None:
            yield _definition(block.lens, words)
            yield _charts(by_lens[block.lens.id], words)
        yield _list(block.sentences)


def _definition(lens: Lens, words: Words) -> str:
    wording = lens.wording[words.language]
    rows = [(words.say(name), getattr(wording, name)) for name in ("universe", "counts", "country")]
    inner = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    return f"<dl>{inner}<dt>id</dt><dd><bdi>{escape(lens.id)}</bdi></dd></dl>"


def _charts(answer: LensAnswer, words: Words) -> str:
    figures = []
    for one in answer.measured:
        charts = charts_of(answer, one, words)
        if charts and one.standing:
            first, second = (words.group(n) for n in (one.standing.first, one.standing.second))
            where = f"{one.line.source}, {one.line.reading.definition}"
            caption = words.say("report_lens_chart", first=first, second=second)
            for chart, text in zip(charts, (caption, ""), strict=True):
                figures.append(_figure(draw(chart), text, where))
    if not figures:
        drawn = published_charts(answer, words)
        figures = [_figure(draw(chart), words.say("report_no_measured"), "") for chart in drawn]
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""


def _figure(svg: str, caption: str, where: str) -> str:
    told = f"{escape(caption)} <bdi>{escape(where)}</bdi>"
    return f"<figure>{svg}<figcaption>{told}</figcaption></figure>"


def _citations(weighing: Weighing, words: Words) -> Iterator[str]:
    facts = used_facts(weighing)
    if facts:
        names = ("id", "day", "entity", "metric", "value", "confidence", "source", "note")
        yield f"<h2>{escape(words.say('report_citations'))}</h2>"
        yield _raw_table(
            [words.say(f"column_{name}") for name in names],
            [_citation(fact, words) for fact in facts],
        )


def _citation(fact: Fact, words: Words) -> list[str]:
    """The cells of a row of the citations, in HTML."""
    value = f"{plain(fact.number):,} {words.unit(fact.unit)} {fact.qualifier}".strip()
    if isinstance(fact.value, Period):
        value = fact.value.text
    read = "" if not fact.seen_at else f" ({words.say('column_read')}: {fact.seen_at})"
    link = f'<a href="{escape(fact.citation_url)}">{escape(fact.source)}</a>'
    note = "; ".join(part for part in (fact.scope, fact.note) if part)
    return [
        *(escape(text) for text in (fact.id, fact.as_of.text, words.group(fact.entity))),
        escape(words.metric(fact.metric)),
        escape(value),
        escape(words.say(f"confidence_{fact.confidence}")),
        link,
        f'<span dir="auto">{escape(note + read)}</span>',
    ]


def _revision_log(revisions: Revisions, words: Words) -> Iterator[str]:
    yield f"<h2>{escape(words.say('report_revisions'))}</h2>"
    yield f"<h3>{escape(words.say('report_regions'))}</h3>"
    names = ("day", "entity", "before", "after", "reason", "source")
    yield _table(
        [words.say(f"column_{name}") for name in names],
        [
            [
                *(str(change.day), f"{change.namespace}:{change.publisher}"),
                *(words.group(change.before), words.group(change.after)),
                *(change.reason, change.source),
            ]
            for change in region_changes()
        ],
    )
    yield f"<h3>{escape(words.say('report_restated'))}: {revisions.num_all:,}</h3>"
    if not revisions.shown:
        yield f"<p>{escape(words.say('report_no_restated'))}</p>"
        return
    restated = ("day", "entity", "metric", "before", "after", "captured", "source")
    yield _table(
        [words.say(f"column_{name}") for name in restated],
        [
            [
                *(str(one.day), one.entity, words.metric(one.metric)),
                *(f"{plain(one.before):,}", f"{plain(one.after):,}"),
                *(f"{one.captured_at:%Y-%m-%d %H:%M}", one.source),
            ]
            for one in revisions.shown
        ],
    )


def _paragraphs(sentences: Iterable[str]) -> str:
    return "".join(f'<p dir="auto">{_sentence(text)}</p>' for text in sentences)


def _sentence(text: str) -> str:
    """A sentence in HTML; a date is never broken at its hyphens."""
    return _DATE.sub(r'<bdi dir="ltr" class="figure">\g<0></bdi>', escape(text))


def _list(sentences: Iterable[str]) -> str:
    items = "".join(f'<li dir="auto">{_sentence(text)}</li>' for text in sentences)
    return f"<ul>{items}</ul>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return _raw_table(columns, [[escape(cell) for cell in row] for row in rows])


def _raw_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are HTML already. Cells that begin with a digit read left to right."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = []
    for row in rows:
        cells = (
            f'<td data-label="{escape(name)}">{_cell(cell)}</td>'
            for name, cell in zip(columns, row, strict=True)
        )
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _cell(cell: str) -> str:
    if cell[:1].isdigit() and " " not in cell:
        return f'<bdi dir="ltr" class="figure">{cell}</bdi>'
    is_name = "/" in cell and " " not in cell
    return f'<bdi class="long">{cell}</bdi>' if is_name else cell
