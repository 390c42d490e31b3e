"""Observed price rows, one CSV file a catalogue, in which a price that still holds is one row.

What a catalogue says each day is in the store and the raw answers, untouched; this file is what
`wazn cost` reads, and could be made again from them. Knows rows; knows no catalogue.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path
from uuid import uuid4

from wazn.weigh.durable import ASIDE, storage_errors, sync_folder
from wazn.weigh.prices import PriceRow, read_rows, write_rows


def keep_rows(path: Path, rows: Iterable[PriceRow], *, dated: bool) -> None:
    """Bring the file up to date with what its catalogue says now.

    A price that is known is seen once more; one that is not becomes a new row, which in a
    catalogue that is not `dated` holds from the day it was first seen on, unless the model itself
    is new. Raises BadFile for a damaged file and StorageError.
    """
    known: list[PriceRow] = []
    if path.exists():
        with open(path, encoding="utf-8", newline="") as lines:
            known = list(read_rows(lines, str(path)))
    merged = merge(known, rows, dated=dated)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{ASIDE}{uuid4().hex}")
        try:
            write_rows(merged, aside)
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
        sync_folder(path.parent)


def merge(known: Iterable[PriceRow], rows: Iterable[PriceRow], *, dated: bool) -> list[PriceRow]:
    """The known rows with the new ones among them, in order of names and dates."""
    merged = {_identity(row): row for row in known}
    newest: dict[tuple[str, str], PriceRow] = {}
    for row in merged.values():
        held = newest.get((row.name, row.hours))
        if held is None or _since(row) >= _since(held):
            newest[row.name, row.hours] = row
    for row in rows:
        if not dated and (held := newest.get((row.name, row.hours))) is not None:
            same = _prices(held) == _prices(row)
            row = replace(row, valid_from=held.valid_from if same else row.captured)
        merged[_identity(row)] = row
    return sorted(merged.values(), key=lambda row: (row.name, _since(row), row.hours))


def _identity(row: PriceRow) -> tuple[object, ...]:
    return (row.name, row.hours, row.valid_from, *_prices(row))


def _prices(row: PriceRow) -> tuple[object, ...]:
    return (row.input, row.output, row.cached_input)


def _since(row: PriceRow) -> date:
    return row.valid_from or date.min
