"""Published series in CSV files, recognised by their header line, as observations.

Each format says which columns mean what and under which definition they were counted; a file with
another header is refused with the list of those that are understood. Empty cells are numbers
nobody counted; every other cell must be what its column promises, or the whole file is refused
with the line and the column. Knows formats of files; knows no service.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

from wazn.errors import BadFile, BadObservation, BadRequest
from wazn.weigh.durable import storage_errors
from wazn.weigh.folders import Folders
from wazn.weigh.observation import Observation, unit_of

MAX_BYTES = 512 << 20
"""Unpacked: a daily series of all of Ollama's library for a year is 3 MB."""

_GZIP = b"\x1f\x8b"

Row = dict[str, str]


class Told(NamedTuple):
    """One number of a row."""

    entity: str
    metric: str
    value: float
    as_of: date


@dataclass(frozen=True, slots=True)
class Format:
    """A series: how its header looks, and how a row is read. `elsewhere` instead says why a file
    that is recognised is not imported."""

    name: str
    columns: tuple[str, ...]
    source: str = ""
    definition: str = ""
    read: Callable[[Row], Iterator[Told]] | None = None
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import brought."""

    format: str
    definitions: tuple[str, ...]
    num_rows: int
    num_new: int
    first: date
    last: date


def import_file(path: Path, folders: Folders) -> Imported:
    """Store a series, keeping the file as it is among the raw responses.

    Raises BadFile for a header or a cell that is not understood, naming line and column;
    BadRequest for a file that is recognised and belongs elsewhere. All of it is stored, or none.
    """
    content = _read(path)
    kinds = _recognised(path, content)
    sha256 = folders.raw.put(path.read_bytes())
    observations = [one for kind in kinds for one in _observations(kind, path, content, sha256)]
    if not observations:
        raise BadFile(f"{path} has a header and no numbers.")
    num_new = folders.store.append(observations)
    days = [one.as_of for one in observations]
    definitions = tuple(sorted({one.definition for one in observations}))
    return Imported(kinds[0].name, definitions, len(observations), num_new, min(days), max(days))


def _read(path: Path) -> str:
    """The text of a file, unpacked where it is packed."""
    if not path.is_file():
        raise BadRequest(f"{path} is not a file that can be read.")
    with storage_errors(path):
        content = path.read_bytes()
    try:
        if content[:2] == _GZIP:
            with gzip.open(io.BytesIO(content)) as file:
                content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise BadFile(f"{path} holds more than {MAX_BYTES >> 20} MiB; import it in parts.")
        return content.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadFile(f"{path} is neither UTF-8 text nor such text in gzip: {error}.") from None


def _recognised(path: Path, content: str) -> list[Format]:
    """The formats of a header: more than one where a file holds numbers of two definitions."""
    header = tuple(next(csv.reader([content.partition("\n")[0].rstrip("\r")]), []))
    kinds = [kind for kind in FORMATS if kind.columns == header]
    if not kinds:
        known = "; ".join(f"{kind.name} ({', '.join(kind.columns[:4])}…)" for kind in FORMATS)
        shown = ", ".join(header)[:200]
        raise BadFile(f"{path} begins with {shown!r}, which is no known header; known are {known}.")
    if kinds[0].elsewhere:
        raise BadRequest(f"{path} is not imported: {kinds[0].elsewhere}")
    return kinds


def _observations(kind: Format, path: Path, content: str, sha256: str) -> Iterator[Observation]:
    assert kind.read is not None  # those without are refused
    captured_at = datetime.now(UTC)
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise BadObservation(f"it does not have {len(kind.columns)} fields")
            for told in kind.read(row):
                yield Observation(
                    told.entity,
                    told.metric,
                    told.value,
                    unit_of(told.metric),
                    told.as_of,
                    captured_at,
                    kind.source,
                    kind.definition,
                    sha256,
                )
    except (BadObservation, csv.Error) as error:
        raise BadFile(f"{path} line {reader.line_num}: {str(error).rstrip('.')}.") from None


def _day(row: Row, column: str) -> date:
    try:
        return date.fromisoformat(row[column][:10])
    except ValueError:
        raise BadObservation(f"{column} is {row[column][:40]!r}, not a date") from None


def _numbers(row: Row, columns: dict[str, str]) -> Iterator[tuple[str, float]]:
    """Metric and value of each column that is not empty."""
    for column, metric in columns.items():
        if row[column] == "":
            continue
        try:
            yield metric, float(row[column])
        except ValueError:
            raise BadObservation(f"{column} is {row[column][:40]!r}, not a number") from None


def _entity(
    prefix: str, column: str, day: str, columns: dict[str, str]
) -> Callable[[Row], Iterator[Told]]:
    """Rows of one entity, named by a column."""

    def read(row: Row) -> Iterator[Told]:
        for metric, value in _numbers(row, columns):
            yield Told(f"{prefix}:{row[column]}", metric, value, _day(row, day))

    return read


def _countries(metric: str, day: str, columns: dict[str, str]) -> Callable[[Row], Iterator[Told]]:
    """Rows with a column for each country: column → entity."""

    def read(row: Row) -> Iterator[Told]:
        for entity, value in _numbers(row, columns):
            yield Told(entity, metric, value, _day(row, day))

    return read


def _genai_price(row: Row) -> Iterator[Told]:
    """Prices of all hours; those of some hours are a range that no single number can hold."""
    if row["constraint"] == "TimeOfDateConstraint":
        return
    dated = row["start_date_or_time"]
    day = _day(row, "start_date_or_time") if dated else date(2026, 11, 10)  # the release's own
    columns = {"input": "input_price", "output": "output_price", "cache_read": "cached_input_price"}
    for metric, value in _numbers(row, columns):
        yield Told(f"price:{row['provider']}/{row['model']}", metric, value, day)


def _models_dev_price(row: Row) -> Iterator[Told]:
    columns = {**_PRICES, "cache_read": "cached_input_price"}
    for metric, value in _numbers(row, columns):
        yield Told(f"price:{row['provider']}/{row['model']}", metric, value, _day(row, "uploaded"))


def _top_list(row: Row) -> Iterator[Told]:
    day, entity = _day(row, "captured_at"), f"hf:{row['model_id']}"
    columns = {"downloads_30d": "downloads_30d", "downloads_all_time": "downloads_all_time"}
    for metric, value in _numbers(row, columns):
        yield Told(entity, metric, value, day)
    yield Told(entity, "created", (_day(row, "created") - date(1970, 1, 1)).days, day)
    yield Told(entity, "is:pipeline=text-generation", 1, day)


_PRICES = {"input_usd_per_mtok": "input_price", "output_usd_per_mtok": "output_price"}
_LITELLM_PRICES = {**_PRICES, "cache_read_usd_per_mtok": "cached_input_price"}
_OSIR = (
    *("snapshot_date", "model_id", "atom_region", "hf_downloads_30d", "hf_likes"),
    *("hf_descendants", "modelscope_total_downloads"),
)
_OSIR_BY_PUBLISHER = (
    *("snapshot_date", "hf_org", "atom_region", "n_models_all", "downloads_30d_all"),
    *("n_models_atom_tracked", "downloads_30d_atom_tracked"),
)

FORMATS = (
    Format(
        "OSIR-LMTS models",
        _OSIR,
        *("osir-lmts", "osir-atom-listed"),
        _entity(
            *("hf", "model_id", "snapshot_date"),
            {
                "hf_downloads_30d": "downloads_30d",
                "hf_likes": "likes",
                "hf_descendants": "derivatives",
            },
        ),
    ),
    Format(
        "OSIR-LMTS models on ModelScope",
        _OSIR,
        *("osir-lmts", "osir-modelscope"),
        _entity(
            *("ms", "model_id", "snapshot_date"),
            {"modelscope_total_downloads": "downloads_all_time"},
        ),
    ),
    Format(
        "OSIR-LMTS publishers",
        _OSIR_BY_PUBLISHER,
        *("osir-lmts", "osir-org-all"),
        _entity(
            *("hf", "hf_org", "snapshot_date"),
            {"downloads_30d_all": "downloads_30d", "n_models_all": "repositories"},
        ),
    ),
    Format(
        "OSIR-LMTS publishers, listed models",
        _OSIR_BY_PUBLISHER,
        *("osir-lmts", "osir-org-atom-listed"),
        _entity(
            *("hf", "hf_org", "snapshot_date"),
            {
                "downloads_30d_atom_tracked": "downloads_30d",
                "n_models_atom_tracked": "repositories",
            },
        ),
    ),
    Format(
        "OSIR-LMTS constant panel by country",
        (
            *("snapshot_date", "china_downloads_30d", "us_downloads_30d", "ratio_cn_us"),
            *("n_models_cn", "n_models_us"),
        ),
        *("osir-lmts", "osir-constant-panel"),
        _countries(
            *("downloads_30d", "snapshot_date"),
            {"china_downloads_30d": "country:CN", "us_downloads_30d": "country:US"},
        ),
    ),
    Format(
        "Ollama pulls by model",
        ("date", "model", "region_guess", "pulls_cumulative_rounded"),
        *("ollama-models-registry", "ollama-library"),
        _entity("ollama", "model", "date", {"pulls_cumulative_rounded": "pulls"}),
    ),
    Format(
        "Ollama pulls by region",
        (
            *("date", "n_models", "us_llm", "china_llm", "eu_llm", "other_llm"),
            *("embedders_all", "us_over_china"),
        ),
        *("ollama-models-registry", "ollama-by-region"),
        _countries(
            *("pulls", "date"),
            {
                "us_llm": "country:US",
                "china_llm": "country:CN",
                "eu_llm": "country:EU",
                "other_llm": "country:OTHER",
            },
        ),
    ),
    Format(
        "most downloaded models of the Hub",
        (
            *("captured_at", "model_id", "atom_region", "downloads_30d", "downloads_all_time"),
            "created",
        ),
        *("wss-hugging-face", "hub-top-text-generation"),
        _top_list,
    ),
    Format(
        "litellm prices by release",
        ("litellm_version", "uploaded", "n_entries", "model_key", *_LITELLM_PRICES),
        *("litellm", "list-price"),
        _entity("price", "model_key", "uploaded", _LITELLM_PRICES),
    ),
    Format(
        "litellm price changes",
        ("seen_on", "model_key", *_LITELLM_PRICES, "change"),
        *("litellm", "list-price"),
        _entity("price", "model_key", "seen_on", _LITELLM_PRICES),
    ),
    Format(
        "models.dev prices by release",
        (
            *("pkg_version", "uploaded", "n_providers", "n_models", "n_open_weights", "provider"),
            *("model", *_PRICES, "cache_read", "release_date", "last_updated", "open_weights"),
        ),
        *("models-dev", "list-price"),
        _models_dev_price,
    ),
    Format(
        "genai-prices rows",
        ("provider", "model", "constraint", "start_date_or_time", "input", "output", "cache_read"),
        *("genai-prices", "list-price"),
        _genai_price,
    ),
    Format(
        "published figures",
        (
            *("obs_id", "as_of", "entity_type", "entity", "metric", "value", "unit", "scope"),
            *("kind", "source", "citation_url", "seen_at", "confidence", "note"),
        ),
        elsewhere="published figures are no series of one definition; they come with wazn as "
        "facts, each with its citation.",
    ),
    Format(
        "regions of publishers",
        ("hf_org", "region", "notes"),
        elsewhere="it is a map of publishers, not a series; wazn has one of its own, with a log of "
        "changes.",
    ),
)
