"""Tell a full disk from other failures of files and of SQLite."""

from __future__ import annotations

import errno
import sqlite3
from typing import Final

_FULL_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FULL_SQLITE: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
"""The second: there is no room for the index of the write-ahead log."""


def is_full_disk(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that the disk or the quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL_DISK:
            return True
        if isinstance(error, sqlite3.Error) and _code_of(error) in _FULL_SQLITE:
            return True
        error = error.__cause__ or error.__context__
    return False


def _code_of(error: sqlite3.Error) -> int | None:
    """SQLite's code; errors that the Python module raises itself have none."""
    return getattr(error, "sqlite_errorcode", None)
