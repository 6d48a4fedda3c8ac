"""Opening and creating the table, and what is read of it."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.audit.chain_writer import ChainWriter
from app.audit.opening import make_store
from app.audit.recording import Recording
from app.audit.store_errors import StoreError
from app.audit.writer import AuditWriter
from app.core.access_errors import AuditUnavailableError
from app.core.errors import SettingsError
from tests.audit.samples import CLOSE_WITHIN_S, an_answer, write
from tests.conftest import REPOSITORY
from tests.forking import ForkedProcess
from tests.servers import wait_until

N_PROCESSES = 4
START = datetime(2026, 1, 1, tzinfo=UTC)

CREATE = """
import sys
from app.audit.opening import make_store
store = make_store(sys.argv[1])
sys.stdin.readline()
store.create()
store.open()
"""


def test_tables_are_created_once_by_processes_that_start_at_once(url: str) -> None:
    programs = [
        ForkedProcess([url], code=CREATE, cwd=REPOSITORY, stdin=subprocess.PIPE, text=True)
        for _ in range(N_PROCESSES)
    ]
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.close()
    assert [program.wait(timeout=300) for program in programs] == [0] * N_PROCESSES


def test_heads_are_those_written_to_most_recently(url: str) -> None:
    store = make_store(url)
    store.create()
    for number in range(5):
        answers = [an_answer(at=START + timedelta(days=(3 * number) % 5))] * (number + 1)
        ChainWriter(store, f"chain-{number}").append(answers)
    heads = store.heads(2)
    everything = sorted(store.chains())
    store.close()
    assert [(head.chain, head.seq) for head in heads] == [("chain-3", 4), ("chain-1", 2)]
    assert everything == [f"chain-{number}" for number in range(5)]


def test_empty_audit_has_no_chains(url: str) -> None:
    store = make_store(url)
    store.create()
    assert (store.chains(), store.heads(100), store.tail("a")) == ([], [], None)
    store.close()


def test_tables_of_another_version_are_refused_in_every_mode(
    sqlite_url: str, tmp_path: Path
) -> None:
    write(sqlite_url)
    with closing(sqlite3.connect(tmp_path / "state/audit.sqlite3")) as connection, connection:
        connection.execute("UPDATE audit_schema SET version = 2")
    with pytest.raises(SettingsError, match="schema version 2; this program knows version 1"):
        AuditWriter(sqlite_url, "a", "on").start({})


def test_file_that_is_no_database_is_an_error_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but longer than a header of SQLite" * 9)
    store = make_store(f"sqlite:///{tmp_path}/notes.txt")
    with pytest.raises(StoreError, match="not a database"):
        store.create()
    store.close()
    assert (tmp_path / "notes.txt").read_text().startswith("not a database")


def test_other_database_is_not_an_audit(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.sqlite3")) as connection, connection:
        connection.execute("CREATE TABLE something (a)")
    store = make_store(f"sqlite:///{tmp_path}/other.sqlite3")
    with pytest.raises(SettingsError, match="no table of that kind"):
        store.open()
    store.close()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://osteo:s3cret@db/osteo", "postgresql+psycopg://osteo:***@db/osteo"),
        ("postgresql://db/osteo?user=a&password=s3cret", "postgresql+psycopg://db/osteo"),
        ("postgresql://db/osteo?sslpassword=s3cret", "postgresql+psycopg://db/osteo"),
    ],
)
def test_name_of_the_database_has_no_password(url: str, name: str) -> None:
    assert make_store(url).name == name


def test_password_with_an_at_sign_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="write an @ of the password as %40") as raised:
        make_store("postgresql://osteo:s3@cret@db/osteo")
    assert "cret" not in str(raised.value)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_fault_in_the_thread_makes_the_writer_fail_and_not_hang(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = AuditWriter(sqlite_url, "a", "required")
    writer.start({})
    monkeypatch.setattr(Recording, "append", lambda *_: 1 / 0)
    with pytest.raises(AuditUnavailableError):
        asyncio.run(writer.commit([an_answer()]))
    wait_until(lambda: writer.is_failing)
    writer.submit(an_answer())
    assert writer.n_dropped == 1
    writer.close(CLOSE_WITHIN_S)
