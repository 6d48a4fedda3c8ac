"""Jobs in a SQLite file: nothing to install, for the processes of one machine."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from app.core.slide_errors import JobsDiskFullError, JobsUnavailableError
from app.core.write_ahead_log import turn_on_write_ahead_log
from app.jobs.database import Row, Transaction, Value
from app.jobs.full_disk import is_full_disk

_BUSY_TIMEOUT_S: Final = 5.0
"""How long a process waits for another one that writes; a transaction takes milliseconds."""


class SqliteDatabase:
    """A file that only its owner reads; one connection, one transaction at a time."""

    skip_locked: Final = ""  # a transaction here is alone

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Open nothing yet.

        Args:
            path: the file; it and its folder are made when they are first needed.
            clock: seconds since 1970. All processes that use the file run on one machine, so its
                clock is the one they share.
        """
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """See `Database.transaction`.

        Raises:
            JobsDiskFullError: the disk is full, so nothing was changed; what is there can be read.
            JobsUnavailableError: the file cannot be used now.
        """
        with self._lock:
            try:
                connection = self._connected()
                # The lock is taken now: a transaction that read first could not write later.
                connection.execute("BEGIN IMMEDIATE")
                yield _SqliteTransaction(connection, self._clock())
                connection.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                reason = f"{self._path.name}: {error}"
                if is_full_disk(error):
                    self._roll_back()
                    raise JobsDiskFullError(reason) from error
                self._disconnect()
                raise JobsUnavailableError(reason) from error
            except BaseException:
                self._disconnect()
                raise

    def has_table(self, name: str, transaction: Transaction) -> bool:
        """See `Database.has_table`."""
        return bool(transaction.rows("SELECT 1 FROM sqlite_master WHERE name = :name", name=name))

    def close(self) -> None:
        """See `Database.close`."""
        with self._lock:
            self._disconnect()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
            connection = sqlite3.connect(
                self._path, _BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            try:
                turn_on_write_ahead_log(connection, _BUSY_TIMEOUT_S)
                # A job that was accepted survives the loss of power.
                connection.execute("PRAGMA synchronous = FULL")
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _roll_back(self) -> None:
        """Undo the transaction and stay connected: a new connection would need room on the disk."""
        if self._connection is not None:
            try:
                self._connection.rollback()
            except sqlite3.Error:
                self._disconnect()

    def _disconnect(self) -> None:
        """Close the connection, which undoes a transaction that was not committed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


class _SqliteTransaction:
    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self._connection = connection
        self.now = now

    def rows(self, statement: str, **values: Value) -> list[Row]:
        return self._connection.execute(statement, values).fetchall()

    def change(self, statement: str, **values: Value) -> int:
        return self._connection.execute(statement, values).rowcount
