"""Whatever is killed, a job resumes when its lease ends, and repeats only what was not committed.

Most tests end the lease by a change of its row, so that none of them waits for it, and a worker
that a busy machine holds up keeps its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from app.jobs.opening import open_queue
from app.jobs.queue import JobQueue
from app.jobs.records import Job, JobState
from app.settings import Settings
from app.slides.checkpoint import COMMIT_ROWS
from tests.conftest import REPOSITORY
from tests.forking import ForkedProcess
from tests.jobs.conftest import OpenQueue
from tests.jobs.fake_slides import N_ROWS
from tests.jobs.requests import a_request, end_leases
from tests.jobs.slide_processes import is_alive, pause, processes_in
from tests.jobs.working import Folders, running, worker_of
from tests.servers import wait_until

LEASE_S = "1"
pytestmark = pytest.mark.usefixtures("forked_slides")
ON_SQLITE, ON_POSTGRESQL = (
    pytest.mark.parametrize(
        "settings", [kind, pytest.param(other, marks=pytest.mark.exhaustive)], indirect=True
    )
    for kind, other in (("sqlite", "postgresql"), ("postgresql", "sqlite"))
)

StartWorker = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture
def start_worker(settings: Settings, folders: Folders) -> Iterator[StartWorker]:
    """Starts a worker in a process of its own."""
    workers: list[subprocess.Popen[bytes]] = []

    def start(name: str, *, is_forking: bool = True, **environ: str) -> subprocess.Popen[bytes]:
        environ["OSTEO_STATE_DIR"] = str(settings.state_dir)
        if settings.jobs_url is not None:
            environ["OSTEO_JOBS_URL"] = settings.jobs_url.get_secret_value()
        workers.append(
            ForkedProcess(
                [str(folders.root), name, "work", str(is_forking)],
                code="from tests.jobs.working import main; main()",
                cwd=REPOSITORY,
                env={**os.environ, **environ},
            )
        )
        return workers[-1]

    yield start
    for worker in workers:
        kill(worker)


def kill(worker: subprocess.Popen[bytes]) -> None:
    worker.kill()
    worker.wait()


def current(queue: JobQueue, job: Job) -> Job:
    found = queue.get(job.id)
    assert found is not None
    return found


def succeeded(queue: JobQueue, job: Job) -> bool:
    found = current(queue, job)
    assert found.failure is None
    return found.state == JobState.SUCCEEDED


def slide_process(folders: Folders, job: Job) -> int:
    return folders.worked(job)[-1][0]


def last_row(folders: Folders, job: Job) -> int:
    """The row that was worked on last; -1 if there is none."""
    return max((number for _, number in folders.worked(job)), default=-1)


def uncommitted(n_rows: int) -> set[int]:
    """How many rows are lost by a kill; after the 32nd row the commit may still be under way."""
    rest = n_rows % COMMIT_ROWS
    return {rest} if rest else {0, COMMIT_ROWS}


@pytest.mark.parametrize(
    "moments",
    [(1, COMMIT_ROWS), pytest.param((N_ROWS - 1,), marks=pytest.mark.exhaustive)],
)
def test_killed_slide_process_is_replaced(
    moments: tuple[int, ...], sqlite_settings: Settings, folders: Folders
) -> None:
    queue = open_queue(sqlite_settings)
    job, _ = queue.submit(a_request())
    folders.open_gate(job, moments[0])
    with running(worker_of(queue, folders, sqlite_settings, "work")):
        for n_rows, n_next in zip(moments, (*moments[1:], N_ROWS), strict=True):
            wait_until(lambda n=n_rows: last_row(folders, job) == n - 1)  # type: ignore[misc] # mypy cannot infer a default
            os.kill(slide_process(folders, job), signal.SIGKILL)
            folders.open_gate(job, n_next)
        wait_until(lambda: succeeded(queue, job))
    assert current(queue, job).attempts == 1 + len(moments)
    assert folders.n_repeated(job) in set(map(sum, product(*map(uncommitted, moments))))


@ON_POSTGRESQL
def test_killed_worker_takes_its_slide_process_along_and_another_worker_resumes(
    queue: JobQueue,
    open_another: OpenQueue,
    folders: Folders,
    settings: Settings,
    start_worker: StartWorker,
) -> None:
    job, _ = queue.submit(a_request())
    folders.open_gate(job, COMMIT_ROWS + 10)
    # The kernel kills a slide process whose parent dies, so its parent must be the worker.
    worker = start_worker("killed", is_forking=False)
    wait_until(lambda: len(folders.worked(job)) == COMMIT_ROWS + 10)
    orphan = slide_process(folders, job)
    kill(worker)
    wait_until(lambda: not is_alive(orphan))
    end_leases(settings)
    folders.open_gate(job, N_ROWS)
    with running(worker_of(open_another(), folders, settings, "work")):
        wait_until(lambda: succeeded(queue, job))
    assert current(queue, job).attempts == 2
    assert folders.n_repeated(job) == 10


@ON_SQLITE
def test_worker_and_slide_process_killed_at_once_are_replaced_when_the_lease_runs_out(
    queue: JobQueue,
    open_another: OpenQueue,
    folders: Folders,
    settings: Settings,
    start_worker: StartWorker,
) -> None:
    job, _ = queue.submit(a_request())
    folders.open_gate(job, COMMIT_ROWS + 10)
    worker = start_worker("killed", OSTEO_SLIDE_LEASE_S=LEASE_S)
    wait_until(lambda: len(folders.worked(job)) == COMMIT_ROWS + 10)
    worker.kill()
    os.kill(slide_process(folders, job), signal.SIGKILL)
    folders.open_gate(job, N_ROWS)
    with running(worker_of(open_another(), folders, settings, "work")):
        wait_until(lambda: succeeded(queue, job))
    assert folders.n_repeated(job) == 10


@ON_POSTGRESQL
def test_two_workers_share_a_queue_and_one_survives(
    queue: JobQueue, folders: Folders, settings: Settings, start_worker: StartWorker
) -> None:
    jobs = [queue.submit(a_request(number))[0] for number in range(4)]
    for job in jobs:
        folders.open_gate(job, 5)
    workers = [start_worker("a"), start_worker("b")]
    first, second = jobs[:2]
    wait_until(lambda: all(len(folders.worked(job)) == 5 for job in (first, second)))
    assert slide_process(folders, first) != slide_process(folders, second)
    kill(workers[0])
    end_leases(settings, worker="a")
    for job in jobs:
        folders.open_gate(job, N_ROWS)
    wait_until(lambda: all(succeeded(queue, job) for job in jobs))
    assert sorted(current(queue, job).attempts for job in jobs) == [1, 1, 1, 2]
    assert sum(folders.n_repeated(job) for job in jobs) <= COMMIT_ROWS


@ON_SQLITE
def test_paused_worker_loses_its_job_and_does_no_harm(
    queue: JobQueue,
    open_another: OpenQueue,
    folders: Folders,
    settings: Settings,
    start_worker: StartWorker,
) -> None:
    job, _ = queue.submit(a_request())
    folders.open_gate(job, 5)
    worker = start_worker("paused")
    wait_until(lambda: len(folders.worked(job)) == 5)
    first = slide_process(folders, job)
    pause(worker.pid)  # its slide process goes on
    end_leases(settings)
    with running(worker_of(open_another(), folders, settings, "work")):
        wait_until(lambda: current(queue, job).attempts == 2)
        worker.send_signal(signal.SIGCONT)
        wait_until(lambda: not is_alive(first))  # the paused worker has noticed
        folders.open_gate(job, N_ROWS)
        wait_until(lambda: succeeded(queue, job))
    assert len({process for process, _ in folders.worked(job)}) == 2
    assert folders.n_repeated(job) == 5


@ON_POSTGRESQL
def test_second_process_waits_while_the_first_still_works(
    queue: JobQueue,
    open_another: OpenQueue,
    folders: Folders,
    settings: Settings,
    start_worker: StartWorker,
) -> None:
    job, _ = queue.submit(a_request())
    folders.open_gate(job, 5)
    worker = start_worker("paused")
    wait_until(lambda: len(folders.worked(job)) == 5)
    pause(worker.pid)
    end_leases(settings)
    with running(worker_of(open_another(), folders, settings, "work")):
        wait_until(lambda: len(processes_in(folders.result_dir(job.id))) == 2)
        folders.open_gate(job, N_ROWS)
        wait_until(lambda: succeeded(queue, job))
    assert folders.n_repeated(job) == 0
