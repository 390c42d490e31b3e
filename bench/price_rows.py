"""Make ``src/wazn/weigh/prices.csv`` from saved series of three price catalogues.

    python -m bench.price_rows FOLDER

FOLDER holds ``genai_prices_*.csv``, ``litellm_price_*.csv`` and ``models_dev_price_history.csv``.
Days on which a catalogue says the same of a model become one row: the first of them is
``valid_from``, the last ``captured``. Rows without a price for both directions (speech, pictures,
pages) are left out and counted.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

from wazn.errors import BadFile
from wazn.weigh.prices import PriceRow, day, dollars, write_rows

GENAI = ("genai-prices 0.2.3", "https://github.com/pydantic/genai-prices", date(2026, 11, 10))
LITELLM = "https://github.com/BerriAI/litellm"
MODELS_DEV = "https://models.dev"

# How litellm's keys begin, and whose models those without a beginning are.
PREFIXES = {
    "gemini": "google",
    "xai": "x-ai",
    "dashscope": "alibaba",
    "moonshot": "moonshotai",
}
MAKERS = {"gpt-": "openai", "o1": "openai", "o3": "openai", "o4": "openai", "claude-": "anthropic"}
OUTPUT = Path(__file__).parent.parent / "src/wazn/weigh/prices.csv"


class Seen(NamedTuple):
    """A price as a catalogue had it on one day."""

    on: date
    row: PriceRow


def main(folder: Path) -> None:
    """Read the series in ``folder`` and write the package's rows."""
    litellm = [
        *_litellm(folder / "litellm_price_history.csv", "uploaded"),
        *_litellm(next(folder.glob("litellm_price_changes_*.csv")), "seen_on"),
    ]
    rows = [
        *_genai(next(folder.glob("genai_prices_*.csv"))),
        *_runs(litellm),
        *_runs(_models_dev(folder / "models_dev_price_history.csv")),
    ]
    rows.sort(key=lambda r: (r.name, r.catalogue_name, r.valid_from or date.min, r.hours))
    write_rows(rows, OUTPUT)
    print(f"{len(rows)} rows in {OUTPUT}")


def _lines(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        left_out = 0
        for line in reader:
            prices = [value for key, value in line.items() if key.startswith(("input", "output"))]
            if all(prices):
                yield f"{path.name} line {reader.line_num}", line
            else:
                left_out += 1
    print(f"{path.name}: {left_out} rows without both prices left out")


def _genai(path: Path) -> Iterator[PriceRow]:
    """Rows of genai-prices, which dates some prices itself.

    Its rows limited to hours carry no date; they belong to the newest price of their model.
    """
    catalogue, source, captured = GENAI
    newest: dict[tuple[str, str], date] = {}
    lines = list(_lines(path))
    for where, line in lines:
        if line["constraint"] == "StartDateConstraint":
            key = (line["provider"], line["model"])
            started = day(line["start_date_or_time"], where)
            newest[key] = max(started, newest.get(key, started))
    for where, line in lines:
        given = line["start_date_or_time"]
        is_hours = line["constraint"] == "TimeOfDateConstraint"
        if is_hours:
            valid_from = newest.get((line["provider"], line["model"]))
        else:
            valid_from = day(given, where) if given else None
        yield PriceRow(
            provider=line["provider"],
            model=line["model"],
            input=dollars(line["input"], where),
            output=dollars(line["output"], where),
            cached_input=dollars(line["cache_read"], where) if line["cache_read"] else None,
            valid_from=valid_from,
            hours=_hours(given, where) if is_hours else "",
            captured=captured,
            catalogue=catalogue,
            source=source,
        )


def _hours(text: str, where: str) -> str:
    """``01:00:00+00:00-04:00:00+00:00`` → ``01:00-04:00 UTC``."""
    first, zone, rest = text.partition("+00:00-")
    last = rest.removesuffix("+00:00")
    if not zone or last == rest:
        raise BadFile(f"{where}: {text!r} are no hours in UTC.")
    return f"{first[:5]}-{last[:5]} UTC"


def _litellm(path: Path, day_column: str) -> Iterator[Seen]:
    for where, line in _lines(path):
        provider, model = _litellm_name(line["model_key"], where)
        seen = day(line[day_column], where)
        source = (f"litellm {line.get('litellm_version', seen)}", LITELLM)
        yield Seen(seen, _row(line, (provider, model), seen, source, where))


def _litellm_name(key: str, where: str) -> tuple[str, str]:
    prefix, slash, rest = key.partition("/")
    if slash:
        return PREFIXES.get(prefix, prefix), rest
    for start, maker in MAKERS.items():
        if key.startswith(start):
            return maker, key
    raise BadFile(f"{where}: nobody is known to sell {key!r}.")


def _models_dev(path: Path) -> Iterator[Seen]:
    for where, line in _lines(path):
        version, seen = line["pkg_version"], day(line["uploaded"], where)
        named = (line["provider"], line["model"])
        line["cache_read_usd_per_mtok"] = line["cache_read"]
        source = (f"models.dev {version}", MODELS_DEV)
        yield Seen(seen, _row(line, named, seen, source, where))


def _row(
    line: dict[str, str], named: tuple[str, str], seen: date, source: tuple[str, str], where: str
) -> PriceRow:
    cached = line["cache_read_usd_per_mtok"]
    return PriceRow(
        *named,
        input=dollars(line["input_usd_per_mtok"], where),
        output=dollars(line["output_usd_per_mtok"], where),
        cached_input=dollars(cached, where) if cached else None,
        valid_from=seen,
        hours="",
        captured=seen,
        catalogue=source[0],
        source=source[1],
    )


def _runs(seen: Iterable[Seen]) -> Iterator[PriceRow]:
    """One row for each run of days with the same price; the last day's source stands for it."""
    by_model: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        by_model[one.row.name].append(one)
    for sightings in by_model.values():
        sightings.sort(key=lambda one: one.on)
        run = sightings[0].row
        for _, row in sightings[1:]:
            same = (row.input, row.output, row.cached_input)
            if same == (run.input, run.output, run.cached_input):
                run = replace(row, valid_from=run.valid_from)
            else:
                yield run
                run = row
        yield run


if __name__ == "__main__":
    main(Path(sys.argv[1]))
