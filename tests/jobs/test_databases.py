"""Databases that are locked, gone, damaged, from another time or wrongly named."""

from __future__ import annotations

import sqlite3
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import SettingsError
from app.core.slide_errors import ExtraMissingError, JobsUnavailableError
from app.jobs.lease_table import LeaseTable
from app.jobs.opening import open_queue
from app.jobs.queue import JobQueue
from app.jobs.records import Job, JobFailure, JobProgress, JobState
from app.jobs.sqlite_database import SqliteDatabase
from app.settings import Settings
from tests.audit.postgresql import Cluster
from tests.jobs.fake_slides import N_ROWS
from tests.jobs.requests import a_request, change_rows
from tests.jobs.working import Folders, running, worker_of
from tests.servers import wait_until

CALLS: dict[str, Callable[[JobQueue], Any]] = {
    "submit": lambda queue: queue.submit(a_request()),
    "get": lambda queue: queue.get("a"),
    "list": lambda queue: queue.list(),
    "active": lambda queue: queue.active(),
    "cancel": lambda queue: queue.cancel("a"),
    "delete": lambda queue: queue.delete("a"),
    "lease": lambda queue: queue.lease("w", 1.0),
    "renew": lambda queue: queue.renew("a", "w", 1.0, JobProgress()),
    "finish": lambda queue: queue.finish("a", "w", None),
    "release": lambda queue: queue.release("a", "w", JobFailure(code="a", detail="b")),
    "counts": lambda queue: queue.counts(),
}


def current(queue: JobQueue, job: Job) -> Job:
    found = queue.get(job.id)
    assert found is not None
    return found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.sqlite_database._BUSY_TIMEOUT_S", 0.05)


@pytest.fixture
def sqlite_file(sqlite_settings: Settings) -> Path:
    return sqlite_settings.state_dir / "jobs.sqlite3"


@pytest.mark.usefixtures("impatient")
def test_every_call_says_so_when_sqlite_is_locked(
    sqlite_settings: Settings, sqlite_file: Path
) -> None:
    queue = open_queue(sqlite_settings)
    queue.counts()
    other = sqlite3.connect(sqlite_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for call in CALLS.values():
        with pytest.raises(JobsUnavailableError) as caught:
            call(queue)
        assert "locked" in caught.value.reason
    other.close()
    for call in CALLS.values():
        call(queue)


def test_every_call_says_so_when_postgresql_is_gone(
    cluster: Cluster, postgresql_settings: Settings
) -> None:
    queue = open_queue(postgresql_settings)
    queue.counts()
    cluster.stop()
    for call in CALLS.values():
        with pytest.raises(JobsUnavailableError) as caught:
            call(queue)
        assert str(cluster.socket) in caught.value.reason  # for the log
        assert str(cluster.socket) not in str(caught.value)
    cluster.start()
    for call in CALLS.values():
        call(queue)
    queue.close()


def test_restart_of_postgresql_between_calls_goes_unnoticed(
    cluster: Cluster, postgresql_settings: Settings
) -> None:
    queue = open_queue(postgresql_settings)
    job, _ = queue.submit(a_request())
    cluster.stop("fast")
    cluster.start()
    assert queue.get(job.id) == job
    queue.close()


@pytest.mark.usefixtures("forked_slides")
def test_worker_goes_on_while_postgresql_restarts(
    cluster: Cluster, postgresql_settings: Settings, tmp_path: Path
) -> None:
    queue, folders = open_queue(postgresql_settings), Folders(tmp_path)
    job, _ = queue.submit(a_request())
    folders.open_gate(job, 5)
    with running(worker_of(queue, folders, postgresql_settings, "work")):
        wait_until(lambda: len(folders.worked(job)) == 5)
        cluster.stop()
        folders.open_gate(job, N_ROWS)
        wait_until((folders.result_dir(job.id) / "summary.json").exists)
        cluster.start()
        wait_until(lambda: current(queue, job).state == JobState.SUCCEEDED)
        other, _ = queue.submit(a_request(1))
        folders.open_gate(other, N_ROWS)
        wait_until(lambda: current(queue, other).state == JobState.SUCCEEDED)
    assert current(queue, job).attempts == 1
    assert folders.n_repeated(job) == 0
    queue.close()


@pytest.mark.usefixtures("impatient", "forked_slides")
def test_worker_goes_on_while_sqlite_is_locked(
    sqlite_settings: Settings, sqlite_file: Path, tmp_path: Path
) -> None:
    queue, folders = open_queue(sqlite_settings), Folders(tmp_path)
    job, _ = queue.submit(a_request())
    folders.open_gate(job, 5)
    with running(worker_of(queue, folders, sqlite_settings, "work")):
        wait_until(lambda: len(folders.worked(job)) == 5)
        other = sqlite3.connect(sqlite_file, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        folders.open_gate(job, N_ROWS)
        wait_until((folders.result_dir(job.id) / "summary.json").exists)
        other.close()
        wait_until(lambda: current(open_queue(sqlite_settings), job).state == JobState.SUCCEEDED)
    assert current(queue, job).attempts == 1


def test_damaged_file_is_named(sqlite_settings: Settings, sqlite_file: Path) -> None:
    sqlite_file.parent.mkdir()
    sqlite_file.write_bytes(b"no database" * 100)
    with pytest.raises(JobsUnavailableError) as caught:
        open_queue(sqlite_settings).counts()
    assert "jobs.sqlite3: file is not a database" in caught.value.reason


def test_tables_of_another_version_are_refused(queue: JobQueue, settings: Settings) -> None:
    queue.counts()
    change_rows(settings, "UPDATE slide_jobs_schema SET version = 2")
    with pytest.raises(JobsUnavailableError) as caught:
        open_queue(settings).counts()
    assert "version 2, and this program knows version 1" in caught.value.reason


def test_user_of_postgresql_needs_no_right_to_make_tables_that_exist(
    cluster: Cluster, postgresql_settings: Settings
) -> None:
    owner = open_queue(postgresql_settings)
    owner.submit(a_request())
    owner.close()
    cluster.psql(
        "CREATE ROLE guest LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; "
        "GRANT SELECT, INSERT, UPDATE, DELETE ON slide_jobs TO guest; "
        "GRANT SELECT ON slide_jobs_schema TO guest"
    )
    queue = open_queue(Settings(jobs_url=cluster.url(user="guest")))
    job = queue.lease("w", 60.0)
    assert job is not None
    assert queue.finish(job.id, "w", None)
    assert queue.delete(job.id)
    queue.close()


def test_file_is_readable_by_its_owner_only(sqlite_settings: Settings, sqlite_file: Path) -> None:
    open_queue(sqlite_settings).submit(a_request())
    for file in sqlite_file.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(sqlite_file.parent.stat().st_mode) == 0o700


def test_clock_set_back_or_forward_leaves_a_renewed_lease_valid(tmp_path: Path) -> None:
    now = [1_000_000.0]
    queue = LeaseTable(SqliteDatabase(tmp_path / "jobs.sqlite3", clock=lambda: now[0]))
    job, _ = queue.submit(a_request())
    assert queue.lease("w", 30.0) is not None
    for jump in (-86_400.0, 86_400.0, -3600.0):
        now[0] += jump
        assert queue.renew(job.id, "w", 30.0, JobProgress())
        assert queue.lease("b", 30.0) is None
    now[0] -= 86_400.0
    assert queue.lease("b", 30.0) is None  # begins to count anew
    now[0] += 30.5
    taken = queue.lease("b", 30.0)
    assert taken is not None
    assert not queue.renew(job.id, "w", 30.0, JobProgress())


@pytest.mark.parametrize(
    "url",
    [
        "mysql://osteo:hunter2@db/osteo",
        "hunter2",
        "postgresql://osteo:hun@ter2@db/osteo",
        "postgresql://osteo:hunter2@db/osteo?nonsense=hunter2",
        "postgresql://osteo:hunter2@[db/osteo",
    ],
)
def test_wrong_url_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="OSTEO_JOBS_URL") as caught:
        open_queue(Settings(jobs_url=url))
    assert "ter2" not in str(caught.value)


def test_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ExtraMissingError, match=r"osteo-tiles\[postgresql\]"):
        open_queue(Settings(jobs_url="postgresql://osteo@db/osteo"))
