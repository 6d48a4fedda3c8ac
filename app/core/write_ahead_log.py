"""The write-ahead log of SQLite, which several processes may turn on at the same time."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

_PAUSE_S: Final = 0.01


def turn_on_write_ahead_log(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Let others read the file while one process writes to it.

    SQLite 3.40 does not wait for another process that is about to write, whatever the connection's
    own timeout is (https://www.sqlite.org/c3ref/busy_handler.html), so this tries again.

    Args:
        connection: outside a transaction.
        timeout_s: how long to try again, in seconds; the last attempt may take the connection's own
            timeout in addition.

    Raises:
        sqlite3.OperationalError: the file is still locked, or it cannot be used.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # The low byte is the kind of error, the others are details of it.
            is_locked = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_locked or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
