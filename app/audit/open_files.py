"""Whether the files that SQLite has open are still those at their paths.

SQLite writes without an error to a file that was removed, renamed or replaced while it was open
(https://www.sqlite.org/howtocorrupt.html, "Unlinking or renaming a database file while in use").
Such records are lost with the process. The files beside the database matter as much: `-wal` holds
the latest commits, and processes with different `-shm` files do not see each other's locks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from app.audit.store_errors import StoreError

_WAL_SUFFIXES: Final = ("-wal", "-shm")
_IDENTITIES: Final = "identities"
"""Where the information of a pooled connection has device and inode of each of its files."""

Identity = tuple[int, int]


class OpenFiles:
    """The files of one database. The database file is the same for all connections."""

    def __init__(self, database: str, engine: sa.Engine) -> None:
        """Watch what an engine opens from now on.

        Args:
            database: path of the database file.
            engine: of that file; it has not connected yet.
        """
        self._file = Path(database).absolute()
        self._opened: Identity | None = None
        sa.event.listen(engine, "do_connect", self._before_connect)
        sa.event.listen(engine, "connect", self._after_connect)

    def forget(self) -> None:
        """Let the next connection open another file than the last one; none may be open."""
        self._opened = None

    def require_same(self, connection_info: Mapping[str, Any]) -> None:
        """Check that the files of a connection are still at their paths: one `stat` each.

        Args:
            connection_info: `Connection.info`.

        Raises:
            StoreError: a file was removed, renamed or replaced, or its folder cannot be entered.
        """
        for file, opened in connection_info[_IDENTITIES].items():
            _require_identity(file, opened)

    def _before_connect(self, *_arguments: object) -> None:
        """Remember the file before SQLite opens it, and do not let SQLite create one."""
        if self._opened is None:
            self._opened = _identity_of(self._file)
        else:
            _require_identity(self._file, self._opened)

    def _after_connect(self, connection: Any, record: Any) -> None:
        try:
            if self._opened is not None:
                # The same file before and after, so it is the one that SQLite opened in between.
                _require_identity(self._file, self._opened)
                record.info[_IDENTITIES] = {self._file: self._opened, **self._beside(connection)}
        except StoreError:
            connection.close()
            raise

    def _beside(self, connection: Any) -> dict[Path, Identity]:
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM sqlite_master")  # SQLite opens them on the first read
        (mode,) = cursor.execute("PRAGMA journal_mode").fetchone()
        cursor.close()
        real = str(self._file.resolve())  # SQLite, too, follows links before it names the others
        suffixes = _WAL_SUFFIXES if mode == "wal" else ()
        files = [Path(real + suffix) for suffix in suffixes]
        return {file: _identity_of(file) for file in files}


def _identity_of(file: Path) -> Identity:
    try:
        found = file.stat()
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}") from error
    return found.st_dev, found.st_ino


def _require_identity(file: Path, opened: Identity) -> None:
    what_to_do = "put the same file back, or restart the service"
    try:
        is_same = _identity_of(file) == opened
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise StoreError(f"{file} was removed while it was in use; {what_to_do}") from error
        raise
    if not is_same:
        raise StoreError(f"{file} was replaced while it was in use; {what_to_do}")
