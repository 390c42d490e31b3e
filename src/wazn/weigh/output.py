"""A weighing for programs: one JSON object, or a flat table. Counts are plain integers.

The keys are part of the interface: new ones may come, none goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wazn.weigh.claims import Claim, Fit, Pair
from wazn.weigh.counting import Group
from wazn.weigh.forecast import Forecast
from wazn.weigh.leaders import Rule, Standing
from wazn.weigh.lens import Language
from wazn.weigh.published import Fact, Period
from wazn.weigh.weighing import LensAnswer, Measured, Weighing

TABLE = (
    *("lens", "kind", "source", "definition", "as_of", "first", "first_value", "second"),
    *("second_value", "unit", "ratio", "low", "high", "leader", "confidence", "rows"),
)


def to_object(weighing: Weighing, language: Language) -> dict[str, Any]:
    """Everything a weighing holds, as JSON can say it."""
    question = weighing.question
    return {
        "as_of": question.day.isoformat(),
        "by": question.by,
        "pair": list(question.shown_pair) if question.shown_pair else None,
        "claims": [_claim(claim) for claim in weighing.claims],
        "lenses": [_answer(answer, language) for answer in weighing.answers],
        "elsewhere": [fact_object(fact) for fact in weighing.elsewhere],
    }


def to_table(weighing: Weighing) -> Iterator[tuple[object, ...]]:
    """One row of TABLE for every pair of figures, measured, published or claimed."""
    for claim in weighing.claims:
        yield _pair_row("", claim.pair)
    for answer in weighing.answers:
        for one in answer.measured:
            if one.standing:
                yield _standing_row(one.standing)
        for pair in answer.published:
            yield _pair_row(answer.lens.id, pair)


def plain(value: float) -> int | float:
    """A whole number as an integer."""
    return int(value) if value == int(value) else value


def fact_object(fact: Fact) -> dict[str, Any]:
    """A published figure with everything its row says."""
    return {
        "id": fact.id,
        "as_of": fact.as_of.text,
        "entity": fact.entity,
        "metric": fact.metric,
        "value": fact.value.text if isinstance(fact.value, Period) else plain(fact.number),
        "unit": fact.unit,
        "qualifier": fact.qualifier,
        "lens": fact.lens or None,
        "kind": fact.kind,
        "confidence": fact.confidence,
        "scope": fact.scope,
        "source": fact.source,
        "citation_url": fact.citation_url,
        "seen_at": fact.seen_at or fact.citation_url,
        "note": fact.note,
    }


def _claim(claim: Claim) -> dict[str, Any]:
    return {**_pair(claim.pair), "fits": [_fit(fit) for fit in claim.fits]}


def _fit(fit: Fit) -> dict[str, Any]:
    rows = [fact_object(row) for row in fit.rows]
    return {"lens": fit.lens, "verdict": fit.verdict, "rows": rows}


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "ratio": pair.ratio,
        "leader": pair.leader.entity,
        "confidence": pair.first.confidence,
        "first": fact_object(pair.first),
        "second": fact_object(pair.second),
    }


def _answer(answer: LensAnswer, language: Language) -> dict[str, Any]:
    wording = answer.lens.wording[language]
    return {
        "id": answer.lens.id,
        "title": wording.title,
        "universe": wording.universe,
        "counts": wording.counts,
        "country": wording.country,
        "measured": [_measured(one) for one in answer.measured],
        "published": [_pair(pair) for pair in answer.published],
        "single": [fact_object(fact) for fact in answer.single],
    }


def _measured(one: Measured) -> dict[str, Any]:
    line = one.line
    return {
        "source": line.source,
        "definition": line.reading.definition,
        "as_of": line.snapshots[-1].day.isoformat(),
        "num_snapshots": len(line.snapshots),
        "standing": _standing(one.standing) if one.standing else None,
        "forecast": _forecast(one.forecast),
        "rows": [
            {
                "group": row.group,
                "entity": row.entity,
                "value": plain(row.value),
                "as_of": row.day.isoformat(),
                "captured_at": row.captured_at.isoformat() + "Z" if row.captured_at else None,
                "raw_sha256": row.raw_sha256,
            }
            for row in one.rows
        ],
    }


def _standing(found: Standing) -> dict[str, Any]:
    low, high = found.range
    groups = found.snapshot.groups
    return {
        "first": _group(found.first, groups[found.first]),
        "second": _group(found.second, groups[found.second]),
        "unit": found.line.lens.unit,
        "total_of_all_groups": plain(found.snapshot.total),
        "groups": {name: plain(group.total) for name, group in groups.items()},
        "ratio": found.ratio,
        "leader": found.leader,
        "range": [low, high],
        "is_robust": found.is_robust,
        "ratio_by_rule": {rule.value: found.ratios[rule] for rule in Rule if rule in found.ratios},
        "ratio_leaving_one_out": list(found.left_out),
        "took_lead": _crossover(found),
        "trend_30_days": [found.trend.middle, found.trend.low, found.trend.high]
        if found.trend
        else None,
    }


def _group(name: str, group: Group) -> dict[str, Any]:
    return {
        "group": name,
        "value": plain(group.total),
        "num_entities": group.num_entities,
        "largest": {"entity": group.top_entity, "value": plain(group.top_value)},
    }


def _crossover(found: Standing) -> dict[str, Any] | None:
    if found.crossover is None:
        return None

    def text(day: object) -> str | None:
        return None if day is None else str(day)

    return {
        "earliest": text(found.crossover.earliest),
        "latest": text(found.crossover.latest),
        "by_rule": {
            rule.value: [text(behind), text(ahead)]
            for rule, (behind, ahead) in found.crossover.by_rule.items()
        },
    }


def _forecast(ahead: Forecast | int | None) -> dict[str, Any] | None:
    if ahead is None:
        return None
    if isinstance(ahead, int):
        return {"too_few": True, "num_origins": ahead}
    test = ahead.backtest
    return {
        "too_few": False,
        "day": ahead.day.isoformat(),
        "ratio": ahead.ratio,
        "interval_80": [ahead.low, ahead.high],
        "step_days": ahead.step_days,
        "num_origins": len(test.trials),
        "mean_error": test.error,
        "num_held_out": len(test.held_out),
        "coverage_held_out": test.coverage,
    }


def _standing_row(found: Standing) -> tuple[object, ...]:
    line, groups = found.line, found.snapshot.groups
    return (
        *(line.lens.id, "measured", line.source, line.reading.definition, found.snapshot.day),
        *(found.first, plain(groups[found.first].total)),
        *(found.second, plain(groups[found.second].total), line.lens.unit),
        *(found.ratio, *found.range, found.leader, "", ""),
    )


def _pair_row(lens: str, pair: Pair) -> tuple[object, ...]:
    first, second = pair.first, pair.second
    return (
        *(lens, first.kind, first.source, first.scope, first.as_of.text),
        *(first.entity, plain(first.number), second.entity, plain(second.number), first.unit),
        *(pair.ratio, "", "", pair.leader.entity, first.confidence, f"{first.id} {second.id}"),
    )
