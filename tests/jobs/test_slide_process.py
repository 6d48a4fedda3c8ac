"""The process that works on a slide, started as a service starts it; other tests fork it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from app.jobs.opening import open_queue
from app.jobs.records import JobState
from app.settings import Settings
from tests.jobs.fake_slides import N_ROWS
from tests.jobs.requests import a_request
from tests.jobs.working import Folders, running, worker_of
from tests.servers import wait_until


def test_process_finishes_a_job(sqlite_settings: Settings, tmp_path: Path) -> None:
    queue, folders = open_queue(sqlite_settings), Folders(tmp_path)
    job, _ = queue.submit(a_request())
    folders.open_gate(job, N_ROWS)
    worker_of(queue, folders, sqlite_settings, "work").run(threading.Event(), until_empty=True)
    done = queue.get(job.id)
    assert done is not None
    assert (done.state, done.attempts, done.failure) == (JobState.SUCCEEDED, 1, None)
    assert [number for _, number in folders.worked(job)] == list(range(N_ROWS))


def test_process_has_the_lowest_priority_and_no_settings_in_its_environment(
    sqlite_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, folders = open_queue(sqlite_settings), Folders(tmp_path)
    monkeypatch.setenv("OSTEO_ADMIN_TOKEN", "a-secret-of-the-service")
    job, _ = queue.submit(a_request())
    with running(worker_of(queue, folders, sqlite_settings, "finish_late")):
        wait_until(lambda: bool(folders.worked(job)))
        ((process, _),) = folders.worked(job)
        assert os.getpriority(os.PRIO_PROCESS, process) == 19
        assert b"a-secret" not in Path(f"/proc/{process}/environ").read_bytes()
        files = [str(file.readlink()) for file in Path(f"/proc/{process}/fd").iterdir()]
        assert not any(file.startswith("socket:") for file in files)
