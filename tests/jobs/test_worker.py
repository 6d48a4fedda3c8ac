"""What a worker makes of the ways in which a process on a slide can end."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from app.jobs.opening import open_queue
from app.jobs.queue import JobQueue
from app.jobs.records import MAX_ATTEMPTS, Job, JobState
from app.settings import Settings
from tests.jobs.fake_slides import N_ROWS
from tests.jobs.requests import a_request
from tests.jobs.slide_processes import is_alive
from tests.jobs.working import Folders, running, worker_of
from tests.servers import wait_until

pytestmark = pytest.mark.usefixtures("forked_slides")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state")


@pytest.fixture
def queue(settings: Settings) -> JobQueue:
    return open_queue(settings)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def current(queue: JobQueue, job: Job) -> Job:
    found = queue.get(job.id)
    assert found is not None
    return found


def worked_off(
    queue: JobQueue, folders: Folders, settings: Settings, behaviour: str, **changes: Any
) -> Job:
    """A job after a worker had nothing more to do."""
    job, _ = queue.submit(a_request())
    folders.open_gate(job, N_ROWS)
    chosen = settings.model_copy(update=changes)
    worker_of(queue, folders, chosen, behaviour).run(threading.Event(), until_empty=True)
    return current(queue, job)


def test_worker_finishes_a_job(queue: JobQueue, folders: Folders, settings: Settings) -> None:
    job = worked_off(queue, folders, settings, "work")
    assert (job.state, job.attempts, job.failure) == (JobState.SUCCEEDED, 1, None)
    assert (job.progress.n_done, job.progress.n_tiles) == (N_ROWS, N_ROWS)
    assert [number for _, number in folders.worked(job)] == list(range(N_ROWS))
    assert set(folders.touched) == {job.slide_id}


@pytest.mark.parametrize(
    ("behaviour", "code", "text"),
    [
        ("crash", "slide-process-crashed", "SIGSEGV"),
        ("leave", "slide-process-crashed", "exit status 3"),
        ("fail", "slide-process-failed", "log of the worker"),
    ],
)
def test_job_fails_after_several_attempts_when_its_process_crashes(
    queue: JobQueue, folders: Folders, settings: Settings, behaviour: str, code: str, text: str
) -> None:
    job = worked_off(queue, folders, settings, behaviour)
    assert (job.state, job.attempts) == (JobState.FAILED, MAX_ATTEMPTS)
    assert job.failure is not None
    assert job.failure.code == code
    assert text in job.failure.detail


def test_job_fails_after_several_attempts_when_memory_runs_out(
    queue: JobQueue, folders: Folders, settings: Settings
) -> None:
    limit = {"slide_memory_bytes": 400 * 1024**2}
    job = worked_off(queue, folders, settings, "fill_memory", **limit)
    assert job.attempts == MAX_ATTEMPTS
    assert job.failure is not None
    assert job.failure.code == "slide-memory"
    assert "419,430,400 bytes" in job.failure.detail


def test_job_fails_after_several_attempts_when_time_runs_out(
    queue: JobQueue, folders: Folders, settings: Settings
) -> None:
    job = worked_off(queue, folders, settings, "sleep", slide_timeout_s=0.3)
    assert job.attempts == MAX_ATTEMPTS
    assert job.failure is not None
    assert job.failure.code == "slide-timeout"
    assert not any(is_alive(process) for process, _ in folders.worked(job))


@pytest.mark.parametrize(
    ("behaviour", "code", "text"),
    [
        ("find_damage", "corrupt-slide", "its last half is missing"),
        ("fill_disk", "disk-full", "disk"),
    ],
)
def test_job_fails_at_once_when_another_attempt_would_fail_alike(
    queue: JobQueue, folders: Folders, settings: Settings, behaviour: str, code: str, text: str
) -> None:
    job = worked_off(queue, folders, settings, behaviour)
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert job.failure is not None
    assert job.failure.code == code
    assert text in job.failure.detail


def test_log_says_why_the_program_failed_without_the_name_of_the_slide(
    queue: JobQueue, folders: Folders, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    job = worked_off(queue, folders, settings, "fail")
    assert "ValueError: something about SLIDE" in str([vars(r) for r in caplog.records])
    everything = str([vars(record) for record in caplog.records]) + str(job)
    assert "Nobody" not in everything


def test_log_has_the_traceback_of_a_crash(
    queue: JobQueue, folders: Folders, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    worked_off(queue, folders, settings, "crash")
    crashed = [r for r in caplog.records if r.getMessage() == "slide_process_crashed"]
    assert len(crashed) == MAX_ATTEMPTS
    assert vars(crashed[0])["exit_status"] == -signal.SIGSEGV
    assert "fake_slides.py" in vars(crashed[0])["traceback"]


def test_worker_is_not_confused_by_what_libraries_print(
    queue: JobQueue, folders: Folders, settings: Settings
) -> None:
    job = worked_off(queue, folders, settings, "print_noise")
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)


def test_worker_stops_a_cancelled_job(
    queue: JobQueue, folders: Folders, settings: Settings
) -> None:
    job, _ = queue.submit(a_request())
    with running(worker_of(queue, folders, settings, "sleep")):
        wait_until(lambda: bool(folders.worked(job)))
        ((process, _),) = folders.worked(job)
        queue.cancel(job.id)
        wait_until(lambda: not is_alive(process))
        other, _ = queue.submit(a_request(1))
        wait_until(lambda: bool(folders.worked(other)))  # the worker goes on
        ((process, _),) = folders.worked(other)
        queue.cancel(other.id)
        wait_until(lambda: not is_alive(process))
    assert current(queue, job).state == JobState.CANCELLED


def test_worker_gives_its_job_back_when_it_stops(
    queue: JobQueue, folders: Folders, settings: Settings
) -> None:
    job, _ = queue.submit(a_request())
    folders.open_gate(job, 40)
    with running(worker_of(queue, folders, settings, "work")):
        wait_until(lambda: len(folders.worked(job)) == 40)
    assert (current(queue, job).state, current(queue, job).attempts) == (JobState.QUEUED, 0)
    assert not any(is_alive(process) for process, _ in folders.worked(job))
    done = worked_off(queue, folders, settings, "work")
    assert (done.state, done.attempts) == (JobState.SUCCEEDED, 1)
    assert folders.n_repeated(job) == 0


def test_worker_that_stops_keeps_the_answer_of_a_process_that_was_about_to_end(
    queue: JobQueue, folders: Folders, settings: Settings
) -> None:
    job, _ = queue.submit(a_request())
    with running(worker_of(queue, folders, settings, "finish_late")):
        wait_until(lambda: bool(folders.worked(job)))
    assert current(queue, job).state == JobState.SUCCEEDED


def test_worker_ends_a_process_that_ignores_its_wish_to_stop(
    queue: JobQueue, folders: Folders, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.slide_process._STOP_WITHIN_S", 0.2)
    job, _ = queue.submit(a_request())
    with running(worker_of(queue, folders, settings, "sleep")):
        wait_until(lambda: bool(folders.worked(job)))
    ((process, _),) = folders.worked(job)
    assert not is_alive(process)
    assert current(queue, job).state == JobState.QUEUED


def test_worker_survives_an_error_of_its_own(
    queue: JobQueue,
    folders: Folders,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("app.jobs.worker.order_of", None)
    queue.submit(a_request())
    worker_of(queue, folders, settings, "work").run(threading.Event(), until_empty=True)
    assert "slide_worker_failed" in caplog.messages


def test_worker_tries_again_when_the_store_cannot_be_used(
    queue: JobQueue, folders: Folders, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "results").write_text("a file where a folder belongs")
    job, _ = queue.submit(a_request())
    worker_of(queue, folders, settings, "work").run(threading.Event(), until_empty=True)
    failed = current(queue, job)
    assert failed.failure is not None
    assert (failed.attempts, failed.failure.code) == (MAX_ATTEMPTS, "slide-store-failed")
    assert str(tmp_path) not in failed.failure.detail
