"""The tiles of a slide that are done, in a SQLite file: a killed run resumes after its last commit.

The file also says what decides the answers (its key). A file with another key is an earlier run of
something else, and is begun anew.
"""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

from app.slides.tile_rows import TileRow

COMMIT_ROWS: Final = 32
"""Rows in a commit: a kill repeats at most these, for each thread. 1,504 rows take 5 ms."""
_COLUMNS: Final = (
    "column_index, row_index, tissue_share, probabilities, reasons, priority, distance, evidence, "
    "error"
)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS run (key TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tiles (
  column_index INTEGER, row_index INTEGER, tissue_share REAL, probabilities TEXT, reasons TEXT,
  priority REAL, distance REAL, evidence BLOB, error TEXT,
  PRIMARY KEY (row_index, column_index)
) WITHOUT ROWID;
"""


class Checkpoint:
    """The rows of one run; one thread writes, and `close` ends it."""

    def __init__(self, path: Path, key: str) -> None:
        """Open or create the file.

        Args:
            path: the file.
            key: identifies everything that decides the rows.

        Raises:
            OSError: the file cannot be written.
        """
        self._path = path
        try:
            self._connection = self._open(key)
        except sqlite3.DatabaseError:
            # Damaged, or left over from a full disk: its tiles have to be classified again.
            path.unlink(missing_ok=True)
            self._connection = self._open(key)

    def done(self) -> set[tuple[int, int]]:
        """Column and row of each tile that has a row."""
        return set(self._connection.execute("SELECT column_index, row_index FROM tiles"))

    def append(self, rows: Iterable[TileRow]) -> None:
        """Commit rows; a tile that has a row already gets the new one.

        Raises:
            OSError: the disk is full.
        """
        values = [
            (
                row.column,
                row.row,
                row.tissue_share,
                json.dumps(row.probabilities),
                json.dumps(row.reasons),
                row.priority,
                row.distance,
                row.evidence,
                row.error,
            )
            for row in rows
        ]
        try:
            with self._connection:
                self._connection.executemany(
                    f"INSERT OR REPLACE INTO tiles ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)",  # noqa: S608 # the columns are constants
                    values,
                )
        except sqlite3.OperationalError as error:
            raise _os_error(error, f"{self._path.name} cannot be written") from error

    def rows(self) -> Iterator[TileRow]:
        """All rows, by row and column of the grid."""
        return _read(self._connection)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, key: str) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self._path, check_same_thread=False)
            # Not WAL, which shared folders of several machines do not support.
            connection.execute("PRAGMA journal_mode = DELETE")
            (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                connection.close()
                raise sqlite3.DatabaseError(state)
            connection.executescript(_SCHEMA)
            with connection:
                if connection.execute("SELECT key FROM run").fetchone() != (key,):
                    connection.execute("DELETE FROM run")
                    connection.execute("DELETE FROM tiles")
                    connection.execute("INSERT INTO run VALUES (?)", (key,))
        except sqlite3.OperationalError as error:
            raise _os_error(error, f"{self._path.name} cannot be opened") from error
        return connection


def stored_rows(path: Path) -> list[TileRow]:
    """The rows of a run, by row and column of the grid.

    Raises:
        OSError: there is no such file, or it is damaged.
    """
    try:
        # Not read-only: after a kill, the first reader rolls the last commit back.
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
        try:
            return list(_read(connection))
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise _os_error(error, f"{path.name} cannot be read") from error


def _os_error(error: sqlite3.DatabaseError, what: str) -> OSError:
    """The error of the system that a database met: its disk is full, or it failed."""
    is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return OSError(errno.ENOSPC if is_full else errno.EIO, f"{what}: {error}")


def _read(connection: sqlite3.Connection) -> Iterator[TileRow]:
    query = f"SELECT {_COLUMNS} FROM tiles ORDER BY row_index, column_index"  # noqa: S608 # the columns are constants
    for column, row, tissue, probabilities, reasons, *rest in connection.execute(query):
        priority, distance, evidence, error = rest
        yield TileRow(
            column,
            row,
            tissue,
            tuple(json.loads(probabilities)),
            tuple(json.loads(reasons)),
            priority,
            distance,
            evidence,
            error,
        )
