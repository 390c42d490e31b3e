"""A weighing in sentences, in one language: what the command line prints and the page shows.

Each figure is told with its definition, source and date, and with the ids of the rows it stands
on. Knows nothing of terminals and of HTML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wazn.weigh.claims import Claim, Fit, Neighbour, Pair
from wazn.weigh.forecast import Forecast
from wazn.weigh.leaders import Rule, Standing
from wazn.weigh.lens import Lens, load_lenses
from wazn.weigh.published import Fact, Period
from wazn.weigh.weighing import OLD, LensAnswer, Measured, Weighing
from wazn.weigh.words import Words, change, share, times

MAX_TOLD = 10
"""Groups of a snapshot that are told by name; the JSON object has more."""


@dataclass(frozen=True, slots=True)
class Block:
    """A titled list of sentences; `lens` where they are about one."""

    title: str
    sentences: tuple[str, ...]
    lens: Lens | None = None


def heading(weighing: Weighing, words: Words) -> str:
    """The title of the whole answer."""
    pair = weighing.question.shown_pair
    day = weighing.question.day.isoformat()
    if pair is None:
        return words.say("heading_without_pair", day=day)
    first, second = (words.group(name) for name in pair)
    return words.say("heading", first=first, second=second, day=day)


def blocks(weighing: Weighing, words: Words) -> list[Block]:
    """Claims first, then lens by lens, then what was published under other definitions."""
    if weighing.is_empty:
        sentences = [words.say("nothing", day=weighing.question.day.isoformat())]
        if weighing.last_published:
            sentences.append(words.say("nothing_since", day=weighing.last_published.isoformat()))
        return [Block(heading(weighing, words), tuple(sentences))]
    told = []
    if weighing.claims:
        titles = {lens.id: lens.wording[words.language].title for lens in load_lenses().values()}
        sentences = [text for one in weighing.claims for text in tell_claim(one, titles, words)]
        told.append(Block(words.say("claims"), tuple(sentences)))
    silent = []
    for answer in weighing.answers:
        title = answer.lens.wording[words.language].title
        if answer.is_empty:
            silent.append(title)
        else:
            told.append(Block(title, tuple(tell_answer(answer, weighing, words)), answer.lens))
    if silent:
        told.append(Block(words.say("silent"), tuple(silent)))
    if weighing.elsewhere:
        sentences = [tell_fact(fact, words) for fact in weighing.elsewhere]
        told.append(Block(words.say("elsewhere"), tuple(sentences)))
    return told


def summary(weighing: Weighing, words: Words) -> tuple[list[str], list[list[str]]]:
    """The columns and rows of the table that shows all lenses at a glance."""
    columns = ("lens", "kind", "day", "leader", "ratio", "range", "source")
    rows = []
    for claim in weighing.claims:
        rows.append(_pair_row("-", claim.pair, words))
    for answer in weighing.answers:
        title = answer.lens.wording[words.language].title
        for one in answer.measured:
            if one.standing:
                rows.append(_standing_row(title, one.standing, words))
        rows += [_pair_row(title, pair, words) for pair in answer.published]
    return [words.say(f"column_{name}") for name in columns], rows


def _standing_row(title: str, standing: Standing, words: Words) -> list[str]:
    lead, low, high = leading(standing)
    return [
        title,
        words.say("kind_measured"),
        standing.snapshot.day.isoformat(),
        words.group(standing.leader),
        times(lead),
        f"{times(low)}–{times(high)}",
        standing.line.source,
    ]


def _pair_row(title: str, pair: Pair, words: Words) -> list[str]:
    kind = words.say(f"kind_{pair.first.kind}")
    leader = words.group(pair.leader.entity)
    return [title, kind, pair.first.as_of.text, leader, times(_lead(pair)), "-", pair.first.source]


def leading(standing: Standing) -> tuple[float, float, float]:
    """The ratio and its range seen from the leader: 2.17 (1.35 to 4.66) to 1."""
    low, high = standing.range
    if standing.leader == standing.first:
        return standing.ratio, low, high
    return 1 / standing.ratio, 1 / high, 1 / low


def _lead(pair: Pair) -> float:
    return max(pair.ratio, 1 / pair.ratio)


def tell_claim(claim: Claim, titles: Mapping[str, str], words: Words) -> Iterator[str]:
    """What was claimed, by whom, and which definition it fits."""
    pair = claim.pair
    yield words.say("claim", **_pair_places(pair, words))
    yield words.say(
        "claim_source",
        scope=pair.first.scope or words.say("scope_unstated"),
        **_source_places([pair.first, pair.second], words),
    )
    if pair.first.confidence == "none":
        yield words.say("claim_no_source")
    yield from dict.fromkeys(fact.note for fact in (pair.first, pair.second) if fact.note)
    compared = [fit for fit in claim.fits if fit.verdict != "no rows"]
    for fit in compared:
        yield words.say(
            "claim_fits" if fit.verdict == "fits" else "claim_contradicted",
            lens=titles[fit.lens],
            reasons=" ".join(_reasons(fit, words)),
        )
    yield words.say("claim_inference" if claim.fitting else "claim_fits_nothing")


def _reasons(fit: Fit, words: Words) -> Iterator[str]:
    for one in fit.neighbours:
        yield words.say(
            _place_of(one),
            entity=words.group(one.claimed.entity),
            claimed=words.amount(one.claimed.number, one.claimed.unit),
            **_neighbour_places(one, words),
        )
    if fit.crossover is not None and isinstance(fit.crossover.value, Period):
        yield words.say(
            "took_lead",
            entity=words.group(fit.crossover.entity),
            day=fit.crossover.value.text,
            row=fit.crossover.id,
            confidence=words.say(f"confidence_{fit.crossover.confidence}"),
        )


def _place_of(one: Neighbour) -> str:
    """The sentence for a claimed figure and the rows before and after it."""
    number = one.claimed.number
    if one.after and number > one.after.number:
        return "above_most"
    if one.before and number < one.before.number:
        return "below_least"
    if one.before and one.after:
        return "between"
    return "at_least" if one.before else "at_most"


def _neighbour_places(one: Neighbour, words: Words) -> dict[str, str]:
    places = {}
    for name, fact in (("before", one.before), ("after", one.after)):
        if fact is not None:
            places[name] = words.amount(fact.number, fact.unit)
            places[f"{name}_day"] = fact.as_of.text
            places[f"{name}_row"] = fact.id
    return places


def tell_answer(answer: LensAnswer, weighing: Weighing, words: Words) -> Iterator[str]:
    """Everything one lens says: measured lines, published pairs, single figures."""
    for one in answer.measured:
        yield from tell_measured(one, weighing, words)
    for pair in answer.published:
        kind = "computed" if pair.first.kind == "computed" else "published"
        places = _source_places([pair.first, pair.second], words)
        yield words.say(kind, **_pair_places(pair, words), **places)
    for fact in answer.single:
        yield tell_fact(fact, words)


def tell_measured(one: Measured, weighing: Weighing, words: Words) -> Iterator[str]:
    """One line on its last day: who leads, how surely, since when, where to."""
    found, line = one.standing, one.line
    if found is None:
        day = line.snapshots[-1].day.isoformat()
        definition = line.reading.definition
        yield words.say("no_pair", source=line.source, definition=definition, day=day)
        return
    lead, low, high = leading(found)
    first, second = (words.group(name) for name in (found.first, found.second))
    yield words.say(
        "measured",
        leader=words.group(found.leader),
        ratio=times(lead),
        low=times(low),
        high=times(high),
        day=found.snapshot.day.isoformat(),
        first=first,
        first_value=words.amount(found.snapshot.groups[found.first].total, line.lens.unit),
        second=second,
        second_value=words.amount(found.snapshot.groups[found.second].total, line.lens.unit),
        unit=words.unit(line.lens.unit),
        source=line.source,
        definition=line.reading.definition,
    )
    age = weighing.question.day - found.snapshot.day
    if age > OLD:
        yield words.say("old", days=age.days)
    yield words.say("robust" if found.is_robust else "fragile")
    yield words.say("groups", unit=words.unit(line.lens.unit), groups=_groups(found, words))
    yield words.say("rules", first=first, second=second, rules=_rules(found, words))
    yield from _since(found, words)
    if found.trend:
        figures = {name: change(getattr(found.trend, name)) for name in ("middle", "low", "high")}
        yield words.say("trend", first=first, second=second, **figures)
    if one.forecast is None and weighing.question.with_forecast:
        yield words.say("forecast_missing")
    yield from tell_forecast(one.forecast, first, second, words)


def _groups(found: Standing, words: Words) -> str:
    """The largest groups with their shares, and what is left of the whole."""
    snapshot, unit = found.snapshot, found.line.lens.unit
    shown = [*snapshot.groups.items()][:MAX_TOLD]
    named = [(words.group(name), group.total) for name, group in shown]
    rest = snapshot.total - sum(value for _, value in named)
    if rest > 0.5:
        named.append((words.say("rest"), rest))
    return words.listed(
        f"{name} {words.amount(value, unit)} ({value / snapshot.total:.0%})"
        for name, value in named
    )


def _rules(found: Standing, words: Words) -> str:
    told = [
        f"{words.say('rule_' + rule.name.lower())} {times(found.ratios[rule])}"
        for rule in Rule
        if rule in found.ratios
    ]
    return words.listed(told)


def _since(found: Standing, words: Words) -> Iterator[str]:
    if found.crossover is None:
        return
    starts = {behind for behind, _ in found.crossover.by_rule.values()}
    key = "since_between" if None not in starts else "since_before"
    yield words.say(
        "since_always" if starts == {None} else key,
        leader=words.group(found.leader),
        earliest=found.crossover.earliest,
        latest=found.crossover.latest,
    )


def tell_forecast(
    ahead: Forecast | int | None, first: str, second: str, words: Words
) -> Iterator[str]:
    """The next step and how good such steps were; or that too few are known."""
    if isinstance(ahead, int):
        yield words.say("forecast_too_few", origins=ahead)
    elif ahead is not None:
        yield words.say(
            "forecast",
            day=ahead.day.isoformat(),
            first=first,
            second=second,
            ratio=f"{ahead.ratio:.3f}",
            low=f"{ahead.low:.3f}",
            high=f"{ahead.high:.3f}",
            origins=len(ahead.backtest.trials),
            step=ahead.step_days,
            error=share(ahead.backtest.error),
            coverage=share(ahead.backtest.coverage),
            held_out=len(ahead.backtest.held_out),
        )


def tell_fact(fact: Fact, words: Words) -> str:
    """One published figure with its source, date and confidence."""
    value = fact.value
    return words.say(
        "single",
        entity=words.group(fact.entity),
        metric=words.metric(fact.metric),
        value=value.text if isinstance(value, Period) else words.amount(value, fact.unit),
        unit="" if isinstance(value, Period) else words.unit(fact.unit),
        qualifier=f"({fact.qualifier})" if fact.qualifier else "",
        **_source_places([fact], words),
    )


def _pair_places(pair: Pair, words: Words) -> dict[str, str]:
    return {
        "leader": words.group(pair.leader.entity),
        "ratio": times(_lead(pair)),
        "first": words.group(pair.first.entity),
        "first_value": words.amount(pair.first.number, pair.first.unit),
        "second": words.group(pair.second.entity),
        "second_value": words.amount(pair.second.number, pair.second.unit),
        "unit": words.unit(pair.first.unit),
    }


def _source_places(facts: list[Fact], words: Words) -> dict[str, str]:
    return {
        "source": facts[0].source,
        "day": facts[0].as_of.text,
        "confidence": words.say(f"confidence_{facts[0].confidence}"),
        "rows": words.listed(fact.id for fact in facts),
    }
