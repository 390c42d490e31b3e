"""The append-only store of observations: immutable Parquet files in one folder, read by DuckDB.

Every append writes one new file aside, syncs it and renames it; no file is ever written again, so
a process killed at any moment leaves either the old store or the new one. Knows files and SQL;
knows nothing of where observations come from or what they mean.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING
from uuid import uuid4

from wazn.errors import BadFile, StorageError
from wazn.weigh.durable import ASIDE, storage_errors, sync_folder
from wazn.weigh.observation import Observation

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

COLUMNS = {
    "entity": "VARCHAR",
    "metric": "VARCHAR",
    "value": "DOUBLE",
    "unit": "VARCHAR",
    "as_of": "DATE",
    "captured_at": "TIMESTAMP",  # UTC
    "source": "VARCHAR",
    "definition": "VARCHAR",
    "raw_sha256": "VARCHAR",
}
IDENTITY = ("entity", "metric", "as_of", "source", "definition", "value")  # what is stored once
VIEW = "observations"


class ObservationStore:
    """All observations kept in a folder.

    Several processes may append and read at once. An observation that says what is already known
    is not stored again; one that restates a number is, beside the old one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, observations: Iterable[Observation]) -> int:
        """Store what is new, as one new file; returns how many observations that were.

        All of them or, on any error, none. Raises StorageError when the disk refuses.
        """
        rows = list(observations)  # before the lock: their maker may wait for a network
        with self._locked(), _storage_errors(self.folder):
            self._remove_leftovers()
            aside = self.folder / f"{ASIDE}{uuid4().hex}"
            lines = aside.with_suffix(".ndjson")
            table = aside.with_suffix(".table")
            try:
                _write_lines(lines, rows)
                num_new = self._write_table(lines, table)
                if num_new:
                    _move_into_place(table, self.folder / f"{self._next_number():08d}.parquet")
            finally:
                lines.unlink(missing_ok=True)
                table.unlink(missing_ok=True)
        return num_new

    def query(self) -> DuckDBPyRelation:
        """Every observation, as a DuckDB relation with the columns of COLUMNS."""
        return self.connect().view(VIEW)

    def connect(self) -> DuckDBPyConnection:
        """A DuckDB connection in which the view `observations` holds everything stored.

        Raises BadFile when a file of the folder is not one of the store's.
        """
        connection = new_connection()
        create_view(connection, self.files())
        return connection

    def files(self) -> list[Path]:
        """The files of the store, oldest first."""
        return sorted(self.folder.glob("*.parquet"))

    def _write_table(self, lines: Path, table: Path) -> int:
        connection = self.connect()
        spelled = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
        same = " AND ".join(f"old.{name} = new.{name}" for name in IDENTITY)
        source = f"read_json(?, format = 'newline_delimited', columns = {{{spelled}}})"
        connection.execute(
            f"CREATE TEMP TABLE fresh AS SELECT DISTINCT ON ({', '.join(IDENTITY)}) * "
            f"FROM {source} new WHERE NOT EXISTS (SELECT 1 FROM {VIEW} old WHERE {same})",
            [str(lines)],
        )
        row = connection.execute("SELECT count(*) FROM fresh").fetchone()
        if row is None or row[0] == 0:
            return 0
        ordered = "SELECT * FROM fresh ORDER BY source, definition, metric, as_of, entity"
        connection.execute(f"COPY ({ordered}) TO '{_quoted(table)}' (FORMAT parquet, CODEC zstd)")
        return int(row[0])

    def _next_number(self) -> int:
        """One after the last; a folder with foreign names in it is refused when it is read."""
        return max((int(path.stem) for path in self.files() if path.stem.isdigit()), default=0) + 1

    def _remove_leftovers(self) -> None:
        for path in self.folder.glob(f"{ASIDE}*"):  # of a process that was killed: we have the lock
            path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def new_connection() -> DuckDBPyConnection:
    """A DuckDB in memory that fetches no extensions and stays below 1.5 GB.

    What does not fit goes to the system's temporary folder, never to the working directory.
    """
    import duckdb

    overflow = Path(gettempdir()) / f"wazn-duckdb-{os.getpid()}"
    return duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": "1500MB",
            "temp_directory": str(overflow),
            "preserve_insertion_order": "false",
        },
    )


def create_view(connection: DuckDBPyConnection, files: list[Path]) -> None:
    """Define the view `observations` over the files; raises BadFile when one of them is foreign."""
    import duckdb

    if not files:
        nothing = ", ".join(f"NULL::{kind} AS {name}" for name, kind in COLUMNS.items())
        connection.execute(f"CREATE VIEW {VIEW} AS SELECT {nothing} WHERE false")
        return
    for path in files:
        try:
            found = connection.execute(f"DESCRIBE FROM read_parquet('{_quoted(path)}')").fetchall()
        except duckdb.Error as error:
            raise BadFile(_foreign(path, str(error).splitlines()[0])) from None
        kinds = {str(name): str(kind) for name, kind, *_ in found}
        if kinds != COLUMNS:
            raise BadFile(_foreign(path, f"its columns are {', '.join(kinds)}"))
    names = ", ".join(f"'{_quoted(path)}'" for path in files)
    connection.execute(f"CREATE VIEW {VIEW} AS FROM read_parquet([{names}])")


def _foreign(path: Path, reason: str) -> str:
    return f"{path} is not a file of observations: {reason}. Move it out of the store."


def _write_lines(path: Path, observations: Iterable[Observation]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for one in observations:
            row: dict[str, object] = {name: getattr(one, name) for name in COLUMNS}
            row["as_of"] = one.as_of.isoformat()
            row["captured_at"] = one.captured_at.replace(tzinfo=None).isoformat()
            file.write(json.dumps(row) + "\n")


def _move_into_place(aside: Path, path: Path) -> None:
    with open(aside, "rb") as file:
        os.fsync(file.fileno())
    os.replace(aside, path)
    sync_folder(path.parent)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    """As `storage_errors`, and for the errors of a disk that DuckDB meets."""
    import duckdb

    try:
        with storage_errors(path):
            yield
    except duckdb.IOException as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise StorageError(f"{path} cannot be used: {reason}.") from error


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
