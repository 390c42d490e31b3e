"""Every row behind the figures of a weighing, as tables: readings of the store, facts in full."""

from __future__ import annotations

from collections.abc import Iterator

from wazn.weigh.output import plain
from wazn.weigh.published import Fact, Period
from wazn.weigh.weighing import Weighing
from wazn.weigh.words import Words

Table = tuple[str, list[str], list[list[str]]]


def reading_rows(weighing: Weighing, words: Words) -> Iterator[Table]:
    """For each measured line the readings of both sides, largest first, with their capture."""
    names = ("leader", "entity", "value", "day", "captured")
    columns = [words.say(f"column_{name}") for name in names]
    columns[0] = words.say("country")
    for answer in weighing.answers:
        for one in answer.measured:
            if one.rows:
                title = answer.lens.wording[words.language].title
                rows = [
                    [
                        words.group(row.group),
                        row.entity,
                        str(plain(row.value)),
                        row.day.isoformat(),
                        f"{row.captured_at:%Y-%m-%d %H:%M} {row.raw_sha256}"
                        if row.captured_at
                        else "-",
                    ]
                    for row in one.rows
                ]
                where = f"{title}: {one.line.source}, {one.line.reading.definition}"
                yield f"{words.say('rows_behind')}: {where}", [*columns], rows


def fact_rows(weighing: Weighing, words: Words) -> Iterator[Table]:
    """Every published figure that was used, with scope, citation, where it was read, and note."""
    names = ("id", "day", "entity", "metric", "value", "confidence", "source", "read", "note")
    facts = used_facts(weighing)
    if facts:
        columns = [words.say(f"column_{name}") for name in names]
        yield words.say("report_citations"), columns, [_row(fact) for fact in facts]


def used_facts(weighing: Weighing) -> list[Fact]:
    """The facts of a weighing, each once, by id."""
    used: dict[str, Fact] = {fact.id: fact for fact in weighing.elsewhere}
    for claim in weighing.claims:
        rows = [row for fit in claim.fits for row in fit.rows]
        used.update({fact.id: fact for fact in (claim.pair.first, claim.pair.second, *rows)})
    for answer in weighing.answers:
        both = [fact for pair in answer.published for fact in (pair.first, pair.second)]
        used.update({fact.id: fact for fact in (*both, *answer.single)})
    return [used[name] for name in sorted(used)]


def _row(fact: Fact) -> list[str]:
    value = f"{plain(fact.number)} {fact.unit} {fact.qualifier}".strip()
    if isinstance(fact.value, Period):
        value = fact.value.text
    return [
        *(fact.id, fact.as_of.text, fact.entity, fact.metric),
        *(value, fact.confidence),
        *(f"{fact.source} <{fact.citation_url}>", fact.seen_at or "-"),
        "; ".join(part for part in (fact.scope, fact.note) if part) or "-",
    ]
