"""The whole answer for a day: claims, what each lens measured, and what was published.

Puts together what the other modules know: observations through lenses, facts, claims, forecasts.
Every figure in it is a row of the store, of a dump or of the facts, or computed from such rows;
nothing is known here by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from wazn.errors import BadRequest
from wazn.weigh.claims import SEASON, Claim, Pair, claims, is_near, pairs
from wazn.weigh.counting import By, Line, Row, lines_of_store, rows_behind
from wazn.weigh.dump import is_for_dumps, line_of_dump, require_one_row_each
from wazn.weigh.forecast import Forecast, can_forecast, forecast
from wazn.weigh.leaders import COUNTRY_PAIR, Rule, Standing, history, standing
from wazn.weigh.lens import Lens
from wazn.weigh.published import Fact
from wazn.weigh.store import ObservationStore, new_connection

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

OLD = timedelta(days=92)
"""A snapshot taken longer before the day asked about is shown as old."""

_ENTITIES: dict[By, tuple[str, ...]] = {
    "country": ("country:",),
    "lab": ("lab:",),
    "family": ("family:",),
    "model": ("hf:", "ollama:"),
}


@dataclass(frozen=True, slots=True)
class Question:
    """What to weigh: the day, the lenses, by what, and which pair (None: as `leaders` chooses)."""

    day: date
    lenses: Sequence[Lens]
    by: By = "country"
    pair: tuple[str, str] | None = None
    explain: bool = False
    with_forecast: bool = True

    @property
    def shown_pair(self) -> tuple[str, str] | None:
        return self.pair or (COUNTRY_PAIR if self.by == "country" else None)

    @property
    def pair_entities(self) -> tuple[str, str] | None:
        """The pair as facts name it."""
        if self.shown_pair is None or self.by == "model":
            return self.shown_pair
        first, second = self.shown_pair
        return f"{self.by}:{first}", f"{self.by}:{second}"


@dataclass(frozen=True, slots=True)
class Measured:
    """A line, and what it says on its last day.

    `standing` is None where the line lacks one of the pair. `forecast` is the number of origins
    where those are too few, and None where none was asked for or statsmodels is missing.
    """

    line: Line
    standing: Standing | None
    rows: list[Row]
    forecast: Forecast | int | None


@dataclass(frozen=True, slots=True)
class LensAnswer:
    """What one lens has to say: measured lines, published pairs and single published figures.

    `published` are the pairs of the season, `history` all of them up to its end.
    """

    lens: Lens
    measured: list[Measured]
    published: list[Pair]
    single: list[Fact]
    history: list[Pair]

    @property
    def is_empty(self) -> bool:
        return not (self.measured or self.published or self.single)


@dataclass(frozen=True, slots=True)
class Weighing:
    """The answer to a question.

    `elsewhere` are published figures that belong to no lens; `last_published` is the last day up
    to the question's that any published figure of its kind speaks of.
    """

    question: Question
    claims: list[Claim]
    answers: list[LensAnswer]
    elsewhere: list[Fact]
    last_published: date | None

    @property
    def is_empty(self) -> bool:
        said_nothing = all(answer.is_empty for answer in self.answers)
        return said_nothing and not self.claims and not self.elsewhere


def weigh(question: Question, facts: Sequence[Fact], store: ObservationStore) -> Weighing:
    """The answer from the store and the facts."""
    connection = store.connect()
    return _weigh(
        question,
        facts,
        connection,
        lambda lens: lines_of_store(connection, lens, question.by, question.day),
    )


def weigh_dump(question: Question, facts: Sequence[Fact], dump: Path) -> Weighing:
    """The answer from a dump of the Hub taken on the question's day, and the facts.

    Lenses that a dump cannot answer are left out when none was named, which is when the question
    has them all; raises BadRequest where nothing is left.
    """
    connection = new_connection()
    lenses = [lens for lens in question.lenses if is_for_dumps(lens)]
    if not lenses:
        names = ", ".join(lens.id for lens in question.lenses)
        raise BadRequest(f"a dump of the Hub cannot answer {names}; leave --lens out to see which.")

    require_one_row_each(connection, dump)

    def lines(lens: Lens) -> Iterator[Line]:
        line = line_of_dump(connection, dump, lens, question.by, question.day)
        return iter([line] if line else [])

    answered = Question(
        question.day, lenses, question.by, question.pair, question.explain, with_forecast=False
    )
    return _weigh(answered, facts, connection, lines)


def _weigh(
    question: Question,
    facts: Sequence[Fact],
    connection: DuckDBPyConnection,
    lines: Callable[[Lens], Iterator[Line]],
) -> Weighing:
    known = [fact for fact in facts if fact.kind != "claim"]
    pair = question.pair_entities
    answers = []
    for lens in question.lenses:
        measured = [_measured(connection, line, question) for line in lines(lens)]
        own = [fact for fact in known if fact.lens == lens.id]
        every_pair = pairs(own, *pair) if pair else []
        published = nearest(every_pair, question.day)
        earlier = [one for one in every_pair if one.first.as_of.last <= question.day + SEASON]
        in_pairs = {fact.id for one in every_pair for fact in (one.first, one.second)}
        single = [fact for fact in in_season(own, question) if fact.id not in in_pairs]
        answers.append(LensAnswer(lens, measured, published, single, earlier))
    return Weighing(
        question=question,
        claims=claims(facts, pair, question.day) if pair else [],
        answers=answers,
        elsewhere=in_season([fact for fact in known if not fact.lens], question),
        last_published=_last_published(known, question),
    )


def _last_published(facts: Sequence[Fact], question: Question) -> date | None:
    days = (fact.as_of.last for fact in facts if fact.entity.startswith(_ENTITIES[question.by]))
    return max((day for day in days if day <= question.day), default=None)


def in_season(facts: Sequence[Fact], question: Question) -> list[Fact]:
    """The facts about the kind of entity asked for, within three months of the day."""
    wanted = _ENTITIES[question.by]
    return [
        fact
        for fact in facts
        if fact.entity.startswith(wanted) and is_near(fact.as_of, question.day, SEASON)
    ]


def nearest(published: Sequence[Pair], day: date) -> list[Pair]:
    """Of each series of published pairs the one closest to the day, within three months."""
    closest: dict[tuple[str, ...], Pair] = {}
    for pair in published:
        fact = pair.first
        if not is_near(fact.as_of, day, SEASON):
            continue
        key = (fact.lens, fact.metric, fact.scope, fact.source)
        if key not in closest or _distance(pair, day) < _distance(closest[key], day):
            closest[key] = pair
    return list(closest.values())


def _distance(pair: Pair, day: date) -> timedelta:
    period = pair.first.as_of
    return max(period.first - day, day - period.last, timedelta(0))


def _measured(connection: DuckDBPyConnection, line: Line, question: Question) -> Measured:
    found = standing(line, question.by, question.pair)
    rows = []
    if found and question.explain:
        rows = rows_behind(connection, line, question.by, [found.first, found.second])
    ahead = None
    if found and question.with_forecast and can_forecast():
        ahead = forecast(history(line, found.first, found.second, Rule.AS_COUNTED))
    return Measured(line, found, rows, ahead)
