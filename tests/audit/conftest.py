"""Databases of the audit: SQLite files, and databases of a PostgreSQL server that is started."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.audit.disks import mounted_disk
from tests.audit.postgresql import Cluster, NoPostgresqlError

_numbers = itertools.count()

NewDatabase = Callable[[], str]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server; the tests are skipped where there is none, but never in CI."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        cluster = Cluster(folder)
    except NoPostgresqlError as error:
        shutil.rmtree(folder)
        if os.environ.get("REQUIRE_CLIENT_TOOLS"):
            raise
        pytest.skip(f"PostgreSQL cannot be started: {error}")
    try:
        yield cluster
    finally:
        if cluster.is_running():
            cluster.stop()
        shutil.rmtree(folder)


@pytest.fixture
def postgresql_url(cluster: Cluster) -> str:
    """The URL of an empty database."""
    if not cluster.is_running():
        cluster.start()
    name = f"audit{next(_numbers)}"
    cluster.psql(f"CREATE DATABASE {name}")
    return cluster.url(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a file that does not exist yet, in a folder that does not either."""
    return f"sqlite:///{tmp_path}/state/audit.sqlite3"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, of each kind in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    with mounted_disk(tmp_path / "disk") as folder:
        yield folder
