"""`osteo worker`, as a program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from app.jobs.opening import open_queue
from app.jobs.records import JobState
from app.settings import Settings
from tests.conftest import REPOSITORY
from tests.forking import ForkedProcess
from tests.jobs.requests import a_request


def started(folder: Path, *arguments: str, **variables: str) -> ForkedProcess:
    return ForkedProcess(
        ["worker", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "OSTEO_STATE_DIR": str(folder), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_once(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    with started(folder, "--once", **variables) as worker:
        output, errors = worker.communicate()
    return subprocess.CompletedProcess(worker.args, worker.returncode, output, errors)


def test_command_ends_when_no_slide_waits(tmp_path: Path) -> None:
    ended = run_once(tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_command_fails_a_job_whose_slide_is_gone(tmp_path: Path) -> None:
    queue = open_queue(Settings(state_dir=tmp_path))
    job, _ = queue.submit(a_request())
    ended = run_once(tmp_path, OSTEO_SLIDE_WORKERS="0")
    assert ended.returncode == 0
    failed = queue.get(job.id)
    assert failed is not None
    assert failed.failure is not None
    assert (failed.state, failed.failure.code) == (JobState.FAILED, "slide-not-found")
    started, last = (json.loads(line) for line in ended.stderr.splitlines())
    assert (started["event"], started["job_id"]) == ("slide_job_started", job.id)
    assert (last["event"], last["problem"]) == ("slide_job_ended", "slide-not-found")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_ends_when_asked(number: int, tmp_path: Path) -> None:
    queue = open_queue(Settings(state_dir=tmp_path))
    job, _ = queue.submit(a_request())
    with started(tmp_path) as worker:
        assert worker.stderr is not None
        while "slide_job_ended" not in worker.stderr.readline():
            assert worker.poll() is None
        worker.send_signal(number)
    assert worker.returncode == 0
    assert queue.get(job.id) is not None


def test_command_says_why_the_queue_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite3").write_bytes(b"no database" * 100)
    ended = run_once(tmp_path)
    assert ended.returncode == 1
    assert "Jobs cannot be read or stored now" in ended.stderr
    assert "jobs.sqlite3: file is not a database" in ended.stderr


def test_command_refuses_a_wrong_url(tmp_path: Path) -> None:
    ended = run_once(tmp_path, OSTEO_JOBS_URL="mysql://osteo:hunter2@db/osteo")
    assert ended.returncode == 2
    assert "OSTEO_JOBS_URL is not a URL of PostgreSQL" in ended.stderr
    assert "hunter2" not in ended.stderr
