"""Whatever is killed, a job resumes within one lease, and repeats only what was not committed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.jobs.opening import open_queue
from app.jobs.queue import JobQueue
from app.jobs.records import Job, JobState
from app.settings import Settings
from app.slides.checkpoint import COMMIT_ROWS
from tests.conftest import REPOSITORY
from tests.jobs.conftest import OpenQueue
from tests.jobs.fake_slides import N_ROWS
from tests.jobs.requests import a_request
from tests.jobs.slide_processes import is_alive
from tests.jobs.working import Folders, running, worker_of
from tests.servers import wait_until

LEASE_S = 3.0
MOMENTS = (1, COMMIT_ROWS, N_ROWS - 1)
"""Rows that were worked on when something was killed; the first commit follows the 32nd."""

StartWorker = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"slide_lease_s": LEASE_S})


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture
def start_worker(settings: Settings, folders: Folders) -> Iterator[StartWorker]:
    """Starts a worker in a process of its own."""
    workers: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        environ = {"OSTEO_STATE_DIR": str(settings.state_dir), "OSTEO_SLIDE_LEASE_S": f"{LEASE_S}"}
        if settings.jobs_url is not None:
            environ["OSTEO_JOBS_URL"] = settings.jobs_url.get_secret_value()
        workers.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.jobs.working", str(folders.root), name, "work"],
                cwd=REPOSITORY,
                env={**os.environ, **environ},
                stdout=subprocess.PIPE,
            )
        )
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()
        assert worker.stdout is not None
        worker.stdout.close()


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


def uncommitted(n_rows: int) -> set[int]:
    """How many rows are lost by a kill; after the 32nd row the commit may still be under way."""
    rest = n_rows % COMMIT_ROWS
    return {rest} if rest else {0, COMMIT_ROWS}


@pytest.mark.parametrize("n_rows", MOMENTS)
def test_killed_slide_process_is_replaced(
    n_rows: int, sqlite_settings: Settings, folders: Folders
) -> None:
    queue = open_queue(sqlite_settings)
    job, _ = queue.submit(a_request())
    folders.open_gate(job, n_rows)
    with running(worker_of(queue, folders, sqlite_settings, "work")):
        wait_until(lambda: len(folders.worked(job)) == n_rows)
        os.kill(slide_process(folders, job), signal.SIGKILL)
        folders.open_gate(job, N_ROWS)
        wait_until(lambda: succeeded(queue, job))
    assert current(queue, job).attempts == 2
    assert folders.n_repeated(job) in uncommitted(n_rows)


def test_killed_worker_takes_its_slide_process_along_and_another_worker_resumes(
    queue: JobQueue,
    open_another: OpenQueue,
    folders: Folders,
    settings: Settings,
    start_worker: StartWorker,
) -> None:
    job, _ = queue.submit(a_request())
    folders.open_gate(job, COMMIT_ROWS + 10)
    worker = start_worker("killed")
    wait_until(lambda: len(folders.worked(job)) == COMMIT_ROWS + 10)
    orphan = slide_process(folders, job)
    worker.kill()
    wait_until(lambda: not is_alive(orphan))
    folders.open_gate(job, N_ROWS)
    with running(worker_of(open_another(), folders, settings, "work")):
        wait_until(lambda: succeeded(queue, job))
    assert current(queue, job).attempts == 2
    assert folders.n_repeated(job) == 10


def test_worker_and_slide_process_killed_at_once_are_replaced(
    queue: JobQueue,
    open_another: OpenQueue,
    folders: Folders,
    settings: Settings,
    start_worker: StartWorker,
) -> None:
    job, _ = queue.submit(a_request())
    folders.open_gate(job, COMMIT_ROWS + 10)
    worker = start_worker("killed")
    wait_until(lambda: len(folders.worked(job)) == COMMIT_ROWS + 10)
    worker.kill()
    os.kill(slide_process(folders, job), signal.SIGKILL)
    folders.open_gate(job, N_ROWS)
    with running(worker_of(open_another(), folders, settings, "work")):
        wait_until(lambda: succeeded(queue, job))
    assert folders.n_repeated(job) == 10


def test_two_workers_share_a_queue_and_one_survives(
    queue: JobQueue, folders: Folders, start_worker: StartWorker
) -> None:
    jobs = [queue.submit(a_request(number))[0] for number in range(4)]
    for job in jobs:
        folders.open_gate(job, 5)
    workers = [start_worker("a"), start_worker("b")]
    first, second = jobs[:2]
    wait_until(lambda: all(len(folders.worked(job)) == 5 for job in (first, second)))
    assert slide_process(folders, first) != slide_process(folders, second)
    workers[0].kill()
    for job in jobs:
        folders.open_gate(job, N_ROWS)
    wait_until(lambda: all(succeeded(queue, job) for job in jobs))
    assert sorted(current(queue, job).attempts for job in jobs) == [1, 1, 1, 2]
    assert sum(folders.n_repeated(job) for job in jobs) <= COMMIT_ROWS


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
    worker.send_signal(signal.SIGSTOP)  # its slide process goes on
    with running(worker_of(open_another(), folders, settings, "work")):
        wait_until(lambda: current(queue, job).attempts == 2)
        worker.send_signal(signal.SIGCONT)
        wait_until(lambda: not is_alive(first))  # the paused worker has noticed
        folders.open_gate(job, N_ROWS)
        wait_until(lambda: succeeded(queue, job))
    assert len({process for process, _ in folders.worked(job)}) == 2
    assert folders.n_repeated(job) == 5


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
    worker.send_signal(signal.SIGSTOP)
    with running(worker_of(open_another(), folders, settings, "work")):
        wait_until(lambda: current(queue, job).attempts == 2)
        folders.open_gate(job, N_ROWS)
        wait_until(lambda: succeeded(queue, job))
    assert folders.n_repeated(job) == 0
