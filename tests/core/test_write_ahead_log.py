"""SQLite's log is turned on although other processes are doing the same."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.core.write_ahead_log import turn_on_write_ahead_log


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "file.sqlite3")) as connection:
        connection.execute("CREATE TABLE found (number)")
    return tmp_path / "file.sqlite3"


@pytest.fixture
def writer(file: Path) -> Iterator[sqlite3.Connection]:
    """Another connection, which is about to write."""
    with closing(
        sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    ) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def test_it_waits_for_another_writer(file: Path, writer: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(file)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            connection.execute("PRAGMA journal_mode = WAL")  # SQLite itself does not wait
        ended = threading.Timer(0.1, writer.execute, ["COMMIT"])
        ended.start()
        turn_on_write_ahead_log(connection, 60)
        ended.join()
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.usefixtures("writer")
def test_it_waits_no_longer_than_the_timeout(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            turn_on_write_ahead_log(connection, 0.05)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_it_does_not_wait_for_a_file_of_another_kind(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)
    with (
        closing(sqlite3.connect(file)) as connection,
        pytest.raises(sqlite3.DatabaseError, match="not a database"),
    ):
        turn_on_write_ahead_log(connection, math.inf)
