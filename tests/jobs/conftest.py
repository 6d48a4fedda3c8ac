"""Queues of both kinds: a SQLite file, and a database of a PostgreSQL server that is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.jobs.opening import open_queue
from app.jobs.queue import JobQueue
from app.settings import Settings
from tests.audit.conftest import cluster
from tests.audit.postgresql import Cluster
from tests.jobs.working import forked_slide_processes

__all__ = ["cluster"]  # a fixture of the audit, for the tests of this folder

OpenQueue = Callable[[], JobQueue]


@pytest.fixture
def postgresql_url(cluster: Cluster) -> str:
    """The URL of a database without tables of jobs."""
    if not cluster.is_running():
        cluster.start()
    cluster.psql("DROP TABLE IF EXISTS slide_jobs, slide_jobs_schema")
    return cluster.url()


@pytest.fixture
def sqlite_settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state")


@pytest.fixture
def postgresql_settings(tmp_path: Path, postgresql_url: str) -> Settings:
    return Settings(state_dir=tmp_path / "state", jobs_url=postgresql_url)


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest) -> Settings:
    """Settings with an empty queue, of each kind in turn."""
    found = request.getfixturevalue(f"{request.param}_settings")
    assert isinstance(found, Settings)
    return found


@pytest.fixture
def open_another(settings: Settings) -> Iterator[OpenQueue]:
    """Opens the same queue again, as another process would."""
    queues: list[JobQueue] = []

    def open_one() -> JobQueue:
        queues.append(open_queue(settings))
        return queues[-1]

    yield open_one
    for queue in queues:
        queue.close()


@pytest.fixture
def queue(open_another: OpenQueue) -> JobQueue:
    return open_another()


@pytest.fixture
def forked_slides() -> Iterator[None]:
    """Forks processes that work on slides; without it, each of them imports all it needs."""
    with forked_slide_processes():
        yield
