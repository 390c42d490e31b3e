"""Lenses: what is counted, of whom, over which time, and whose it is, as data.

Each file of `lenses/` is one definition; its name is its id. A lens says in words (in English and
Arabic) what its figures mean and in fields how they are computed from observations: no code knows
one by name. A field that is unknown or of the wrong type is an error, so that a misspelt filter
never widens a universe in silence.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from importlib.resources import files
from typing import Any, Literal, get_args

from wazn.errors import BadFile, BadRequest
from wazn.weigh.observation import unit_of

CounterKind = Literal["window", "total", "increase"]
CountryRule = Literal["publisher", "lineage"]
Language = Literal["en", "ar"]


@dataclass(frozen=True, slots=True)
class Wording:
    """What a lens means, in one language."""

    title: str
    universe: str
    counts: str
    country: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Which observations of one definition belong to the universe.

    `pipelines` and `created_after` need the properties of the entities; `exclude` is a pattern for
    names without their publisher; `listed_publishers` keeps those whose region is known;
    `panel_from` names the definition whose publishers decide who was there, else its own.
    `of_publishers` says that entities are publishers, which have neither families nor models.
    """

    definition: str
    pipelines: tuple[str, ...] = ()
    exclude: str = ""
    listed_publishers: bool = False
    created_after: date | None = None
    panel_from: str = ""
    of_publishers: bool = False


@dataclass(frozen=True, slots=True)
class Lens:
    """One definition.

    `counter`: readings are of a `window`, or a `total` since the beginning, or a total whose
    `increase` since the snapshot before is what counts. `panel_days` keeps the publishers that are
    in every snapshot of so many days up to the last; `max_age_days` keeps entities created so
    many days before the snapshot. Without readings the lens holds published figures only.
    """

    id: str
    order: int
    metric: str
    counter: CounterKind
    country_rule: CountryRule
    wording: Mapping[str, Wording]
    readings: tuple[Reading, ...]
    panel_days: int | None = None
    max_age_days: int | None = None

    @property
    def unit(self) -> str:
        return unit_of(self.metric)


def load_lenses() -> dict[str, Lens]:
    """Every lens of the package by id, in the order they are shown."""
    folder = files("wazn.weigh") / "lenses"
    lenses = [
        parse_lens(place.name.removesuffix(".toml"), place.read_text(encoding="utf-8"))
        for place in folder.iterdir()
        if place.name.endswith(".toml")
    ]
    return {lens.id: lens for lens in sorted(lenses, key=lambda lens: lens.order)}


def choose(lenses: Mapping[str, Lens], wanted: list[str]) -> list[Lens]:
    """The lenses of these ids, all for none; raises BadRequest naming an unknown one."""
    for name in wanted:
        if name not in lenses:
            raise BadRequest(f"there is no lens {name!r}; known are {', '.join(lenses)}.")
    return [lens for lens in lenses.values() if not wanted or lens.id in wanted]


def parse_lens(name: str, text: str) -> Lens:
    """A lens from its TOML; raises BadFile naming the lens and the field."""
    try:
        given = tomllib.loads(text)
        wording = {language: Wording(**given.pop(language)) for language in get_args(Language)}
        readings = tuple(_reading(one) for one in given.pop("readings", []))
        lens = Lens(id=name, wording=wording, readings=readings, **given)
        _check(lens)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, re.error) as error:
        raise BadFile(f"lens {name} cannot be used: {error}.") from None
    return lens


def _reading(given: dict[str, Any]) -> Reading:
    given["pipelines"] = tuple(given.get("pipelines", ()))
    reading = Reading(**given)
    for kind, names in (
        (str, ("definition", "exclude", "panel_from")),
        (bool, ("listed_publishers", "of_publishers")),
    ):
        for name in names:
            if type(getattr(reading, name)) is not kind:
                raise ValueError(f"{name} must be a {kind.__name__}")
    if not all(isinstance(one, str) for one in reading.pipelines):
        raise ValueError("pipelines must be strings")
    if reading.created_after is not None and type(reading.created_after) is not date:
        raise ValueError("created_after must be a date")
    re.compile(reading.exclude)
    return reading


def _check(lens: Lens) -> None:
    for name, choices in (("counter", CounterKind), ("country_rule", CountryRule)):
        if getattr(lens, name) not in get_args(choices):
            raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}")
    for name in ("order", "panel_days", "max_age_days"):
        value = getattr(lens, name)
        if value is not None and (type(value) is not int or value <= 0):
            raise ValueError(f"{name} must be a number above zero")
    for wording in lens.wording.values():
        for field in fields(wording):
            if not isinstance(getattr(wording, field.name), str):
                raise ValueError(f"{field.name} must be a sentence")
    unit_of(lens.metric)
