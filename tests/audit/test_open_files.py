"""What counts as the same file, and what the writer does if one is gone."""

from __future__ import annotations

import asyncio
import select
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.audit.chain_writer import ChainWriter
from app.audit.engines import checked_url, engine_of
from app.audit.open_files import OpenFiles
from app.audit.opening import make_store
from app.audit.store import AuditStore
from app.audit.store_errors import StoreError
from app.audit.verify import verify
from app.audit.writer import AuditWriter
from app.core.access_errors import AuditUnavailableError
from app.core.errors import SettingsError
from tests.audit.load import require_recorded_once
from tests.audit.samples import CLOSE_WITHIN_S, an_answer, stored, stored_events, write
from tests.conftest import REPOSITORY
from tests.forking import ForkedProcess
from tests.servers import wait_until


@pytest.fixture
def file(tmp_path: Path, sqlite_url: str) -> Path:
    """The file of an audit with a start, an answer and a stop."""
    write(sqlite_url, an_answer())
    return tmp_path / "state" / "audit.sqlite3"


@pytest.fixture
def store(file: Path) -> Iterator[AuditStore]:
    """The store of this file, which it has open."""
    store = make_store(f"sqlite:///{file}")
    store.open()
    yield store
    store.close()


def replace_by_a_copy(file: Path) -> None:
    copy = file.with_name("copy")
    shutil.copy(file, copy)
    copy.replace(file)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_read_fails_when_a_file_is_removed(store: AuditStore, file: Path, suffix: str) -> None:
    file.with_name(file.name + suffix).unlink()
    with pytest.raises(StoreError, match=f"sqlite3{suffix} was removed while it was in use; put"):
        store.chains()


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_read_fails_when_a_file_is_replaced(store: AuditStore, file: Path, suffix: str) -> None:
    replace_by_a_copy(file.with_name(file.name + suffix))
    with pytest.raises(StoreError, match=f"sqlite3{suffix} was replaced while it was in use; put"):
        store.chains()


def test_refused_records_are_not_in_a_file_that_comes_back(store: AuditStore, file: Path) -> None:
    writer, aside = ChainWriter(store, "replica-1"), file.with_name("aside")
    before = writer.head
    file.rename(aside)
    with pytest.raises(StoreError, match="was removed"):
        writer.append([an_answer()])
    aside.rename(file)
    assert not writer.settle()
    assert store.tail("replica-1") == before


def test_read_fails_while_the_folder_is_another_file(store: AuditStore, file: Path) -> None:
    aside = file.parent.with_name("aside")
    file.parent.rename(aside)
    file.parent.write_text("no folder")
    with pytest.raises(StoreError, match=r"audit\.sqlite3: Not a directory"):
        store.chains()
    file.parent.unlink()
    aside.rename(file.parent)
    assert store.chains() == ["replica-1"]


def test_file_behind_a_link_is_the_same_until_the_link_changes(file: Path, tmp_path: Path) -> None:
    link, other = tmp_path / "link.sqlite3", tmp_path / "other.sqlite3"
    shutil.copy(file, other)
    link.symlink_to(file)
    with closing(make_store(f"sqlite:///{link}")) as store:
        assert store.chains() == ["replica-1"]
        assert file.with_name(f"{file.name}-wal").exists(), "what is watched lies beside the file"
        assert store.chains() == ["replica-1"]
        link.unlink()
        link.symlink_to(other)
        with pytest.raises(StoreError, match=r"link\.sqlite3 was replaced while it was in use"):
            store.chains()


def test_other_processes_that_write_and_shrink_the_file_change_nothing(
    store: AuditStore, file: Path
) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        for statement in (
            "CREATE TABLE other (a)",
            "INSERT INTO other VALUES (zeroblob(1000000))",
            "DROP TABLE other",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "VACUUM",
        ):
            other.execute(statement).fetchall()
    assert store.chains() == ["replica-1"]


def test_connection_creates_no_file(tmp_path: Path) -> None:
    with (
        closing(make_store(f"sqlite:///{tmp_path}/audit.sqlite3")) as store,
        pytest.raises(StoreError, match=r"audit\.sqlite3: No such file or directory"),
    ):
        store.chains()
    assert list(tmp_path.iterdir()) == []


def test_connection_fails_when_the_file_is_replaced_as_it_opens(file: Path) -> None:
    engine = engine_of(checked_url(f"sqlite:///{file}"))
    OpenFiles(str(file), engine)
    sa.event.listen(engine, "do_connect", lambda *_: replace_by_a_copy(file))
    with pytest.raises(StoreError, match="was replaced"):
        engine.connect()


def test_create_may_open_another_file_than_an_attempt_before(store: AuditStore, file: Path) -> None:
    file.unlink()
    store.create()
    assert store.chains() == []


def test_postgresql_has_no_files_to_check(postgresql_url: str) -> None:
    with closing(make_store(postgresql_url)) as store:
        store.create()
        store.require_same_files()


def test_uri_of_sqlite_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"option uri.*; write its path, such as sqlite:////"):
        make_store("sqlite:///file:/var/lib/osteo/audit.sqlite3?mode=ro&uri=true")


def test_writer_notices_a_removed_file_while_nothing_is_recorded(
    file: Path, sqlite_url: str
) -> None:
    changes: list[bool] = []
    writer = AuditWriter(sqlite_url, "a", "required", on_change=changes.append)
    writer.start({})
    file.rename(file.with_name("aside"))
    wait_until(lambda: writer.is_failing)
    file.with_name("aside").rename(file)
    wait_until(lambda: not writer.is_failing)
    asyncio.run(writer.commit([an_answer()]))
    writer.close(CLOSE_WITHIN_S)
    assert changes == [True, False]
    events = ["start", "interruption", "answer", "stop"]
    assert stored_events(sqlite_url) == [*events, "start", "answer", "stop"]


def test_writer_counts_what_waits_when_it_ends_without_the_file(
    file: Path, sqlite_url: str
) -> None:
    writer = AuditWriter(sqlite_url, "a", "on")
    writer.start({})
    file.unlink()
    for number in range(3):
        writer.submit(an_answer(number))
    wait_until(lambda: writer.is_failing)
    writer.close(0.0)
    assert writer.n_dropped == 3
    assert not file.exists()


@pytest.fixture
def commit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Commits an answer with a number, or checks that it is refused."""

    def commit(writer: AuditWriter, number: int, *, is_refused: bool = False) -> None:
        timeout_s = 0.1 if is_refused else CLOSE_WITHIN_S
        monkeypatch.setattr("app.audit.writer.COMMIT_TIMEOUT_S", timeout_s)
        with pytest.raises(AuditUnavailableError) if is_refused else nullcontext():
            asyncio.run(writer.commit([an_answer(number)]))

    return commit


def started(url: str) -> AuditWriter:
    writer = AuditWriter(url, "a", "required")
    writer.start({})
    return writer


def require_answers(url: str, *numbers: int) -> None:
    """Check that these answers are in the chain `a`, and that all chains are whole."""
    answers = [r for r in stored(url) if (r["chain"], r["event"]) == ("a", "answer")]
    assert [record["request_id"] for record in answers] == [f"request-{n}" for n in numbers]
    with closing(make_store(url)) as store:
        assert verify(store).findings == []


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_removed_file_beside_it_ends_the_commits_and_loses_none(
    sqlite_url: str, file: Path, suffix: str, commit: Callable[..., None]
) -> None:
    writer = started(sqlite_url)
    commit(writer, 1)
    file.with_name(file.name + suffix).unlink()
    for number in (2, 3):  # the second one comes when the failure is known
        commit(writer, number, is_refused=True)
        wait_until(lambda: writer.is_failing)
    writer.close(0.0)
    second = started(sqlite_url)
    commit(second, 4)
    second.close(CLOSE_WITHIN_S)
    require_answers(sqlite_url, 1, 4)


def test_replaced_file_is_not_written_to(
    sqlite_url: str, file: Path, commit: Callable[..., None]
) -> None:
    writer = started(sqlite_url)
    commit(writer, 1)
    replace_by_a_copy(file)
    bytes_before = file.read_bytes()
    for number in (2, 3):
        commit(writer, number, is_refused=True)
        wait_until(lambda: writer.is_failing)
    writer.close(0.0)
    assert file.read_bytes() == bytes_before


def test_kill_after_a_moved_wal_file_loses_no_answer(tmp_path: Path) -> None:
    file = tmp_path / "audit.sqlite3"
    wal, aside = file.with_name(f"{file.name}-wal"), tmp_path / "aside"
    with ForkedProcess(
        [f"sqlite:///{file}", "0"],
        code="import app.audit.writer as w; w.COMMIT_TIMEOUT_S = 600.0\n"
        "from tests.audit.committing import main; main()",
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(20)]
        wal.rename(aside)
        stderr = process.stderr
        assert stderr is not None
        wait_until(lambda: bool(select.select([stderr], [], [], 0)[0]))
        assert stderr.readline() == b"audit_failing\n"
        process.kill()
        lines += process.stdout.readlines()
    aside.rename(wal)
    require_recorded_once(f"sqlite:///{file}", [int(line) for line in lines])
