"""What was answered is there exactly once, whatever is killed, stopped, cut or full."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from app.audit.writer import AuditWriter
from tests.audit.cutting_proxy import CuttingProxy, When
from tests.audit.load import N_AT_ONCE, Load, require_recorded_once
from tests.audit.postgresql import Cluster
from tests.audit.samples import CLOSE_WITHIN_S, an_answer, stored_events
from tests.conftest import REPOSITORY
from tests.forking import ForkedProcess
from tests.servers import wait_until

N_BEFORE_THE_KILL = 60
N_ANSWERS = 60


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let requests get their error soon; a busy machine only gets more of them."""
    monkeypatch.setattr("app.audit.writer.COMMIT_TIMEOUT_S", 0.5)


def numbers_until_killed(url: str, first: int) -> list[int]:
    """Numbers that a killed program said were committed."""
    code = "from tests.audit.committing import main; main()"
    arguments = [url, str(first)]
    with ForkedProcess(arguments, code=code, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(N_BEFORE_THE_KILL)]
        process.kill()
        lines += process.stdout.readlines()
    return [int(line) for line in lines if line.endswith(b"\n")]


@pytest.mark.parametrize(
    "url", ["postgresql", pytest.param("sqlite", marks=pytest.mark.exhaustive)], indirect=True
)
def test_kill_loses_and_doubles_nothing(url: str) -> None:
    first = numbers_until_killed(url, 0)
    second = numbers_until_killed(url, 1_000_000)
    assert len(first) >= N_BEFORE_THE_KILL
    require_recorded_once(url, first + second)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the condition sets no event
        await asyncio.sleep(0.001)


def test_crash_of_postgresql_loses_and_doubles_nothing(
    cluster: Cluster, postgresql_url: str
) -> None:
    changes: list[bool] = []
    writer = AuditWriter(postgresql_url, "a", "required", on_change=changes.append)
    writer.start({})
    load = Load(writer)

    async def crash_in_the_middle() -> None:
        running = asyncio.create_task(load.run_until(lambda: len(load.answered) >= N_ANSWERS))
        await until(lambda: len(load.answered) >= N_ANSWERS // 2)
        await asyncio.to_thread(cluster.stop, "immediate")
        await until(lambda: bool(load.refused))
        await asyncio.to_thread(cluster.start)
        await running

    asyncio.run(crash_in_the_middle())
    writer.close(CLOSE_WITHIN_S)
    require_recorded_once(postgresql_url, load.answered)
    assert changes == [True, False]
    assert "interruption" in stored_events(postgresql_url)


def test_restart_of_postgresql_between_requests_goes_unnoticed(
    cluster: Cluster, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.audit.writer.COMMIT_TIMEOUT_S", 60.0)
    changes: list[bool] = []
    writer = AuditWriter(postgresql_url, "a", "required", on_change=changes.append)
    writer.start({})
    cluster.stop("fast")
    cluster.start()
    load = Load(writer)
    asyncio.run(load.request())
    writer.close(CLOSE_WITHIN_S)
    assert (load.refused, changes) == ([], [])
    assert stored_events(postgresql_url) == ["start", "answer", "stop"]


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[CuttingProxy]:
    folder = Path(tempfile.mkdtemp(prefix="cut-", dir="/tmp"))
    with CuttingProxy(folder, cluster.socket) as proxy:
        yield proxy
    shutil.rmtree(folder)


def database_of(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


def has_cut(proxy: CuttingProxy, n_times: int) -> bool:
    return proxy.n_cut >= n_times


@pytest.mark.parametrize(
    "when", [pytest.param("before", marks=pytest.mark.exhaustive), "during", "after"]
)
def test_connection_cut_in_a_commit_loses_and_doubles_nothing(
    proxy: CuttingProxy, postgresql_url: str, monkeypatch: pytest.MonkeyPatch, when: When
) -> None:
    monkeypatch.setattr("app.audit.writer.COMMIT_TIMEOUT_S", 60.0)
    writer = AuditWriter(proxy.url(database_of(postgresql_url)), "a", "required")
    writer.start({})
    load = Load(writer)
    for n_cuts in range(1, 4):
        proxy.arm(when)
        asyncio.run(load.run_until(partial(has_cut, proxy, n_cuts)))
    writer.close(CLOSE_WITHIN_S)
    assert load.refused == []
    assert require_recorded_once(postgresql_url, load.answered) == set(load.answered)


def fill(file: Path) -> None:
    """Take all that is left of a disk."""
    with file.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(512))


def test_full_disk_refuses_and_recovers_by_itself(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk}/audit.sqlite3"
    changes: list[bool] = []
    writer = AuditWriter(url, "a", "required", on_change=changes.append)
    writer.start({})
    filler, load = small_disk / "filler", Load(writer)
    fill(filler)
    asyncio.run(load.run_until(lambda: len(load.refused) >= N_AT_ONCE))
    assert writer.is_failing
    refused = list(load.refused)
    filler.unlink()
    n_answered = len(load.answered)
    asyncio.run(load.run_until(lambda: len(load.answered) >= n_answered + N_AT_ONCE))
    writer.close(CLOSE_WITHIN_S)
    recorded = require_recorded_once(url, load.answered)
    assert recorded.isdisjoint(refused), "an answer was recorded that nobody got"
    # A small batch may still have fitted between two that did not.
    assert (changes[0], changes[-1]) == (True, False)


def test_queued_records_survive_a_stop_of_postgresql(cluster: Cluster, postgresql_url: str) -> None:
    writer = AuditWriter(postgresql_url, "a", "on")
    writer.start({})
    cluster.stop("immediate")
    load = range(20)
    for number in load:
        writer.submit(an_answer(number))
    cluster.start()
    writer.close(CLOSE_WITHIN_S)
    assert require_recorded_once(postgresql_url, list(load)) == set(load)


def test_database_that_does_not_answer_counts_as_failing(
    cluster: Cluster, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.audit.failure._STUCK_S", 0.1)
    writer = AuditWriter(postgresql_url, "a", "required")
    writer.start({})
    load = Load(writer)
    asyncio.run(load.request())
    database = database_of(postgresql_url)
    query = f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}'"  # noqa: S608 - our name
    backends = [int(pid) for pid in cluster.psql(query).split()]
    for pid in backends:
        os.kill(pid, signal.SIGSTOP)
    try:
        asyncio.run(load.request())
        wait_until(lambda: writer.is_failing)
    finally:
        for pid in backends:
            os.kill(pid, signal.SIGCONT)
    asyncio.run(load.run_until(lambda: len(load.answered) > 1))
    writer.close(CLOSE_WITHIN_S)
    assert 1 in load.refused
    assert not writer.is_failing
    require_recorded_once(postgresql_url, load.answered)
