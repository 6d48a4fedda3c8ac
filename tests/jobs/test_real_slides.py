"""A real slide, the released model and the real store, from the queue to the results."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.bundle import find_bundle
from app.core.manifest import MANIFEST_NAME, sha256_of_file
from app.core.slide_limits import DEFAULT_SLIDE_LIMITS
from app.jobs.opening import open_queue, run_workers
from app.jobs.queue import JobQueue
from app.jobs.records import Job, JobRequest, JobState
from app.settings import Settings
from app.slides.identity import sha256_of_slide
from app.slides.opening import open_slide
from app.slides.storage.slide_record import SlideRecord
from app.slides.storage.store import SlideStore, open_store
from app.telemetry.metrics import Metrics
from tests.bundles import MODEL_NAME
from tests.conftest import RELEASED_MODELS, REPOSITORY
from tests.forking import ForkedProcess
from tests.jobs.slide_processes import n_committed, processes_in, stop_after_a_commit
from tests.servers import wait_until
from tests.slides.drawn_slides import Drawing, draw_slide

COLUMNS, ROWS = 8, 8
SMALL = (3, 2)


@pytest.fixture
def cells() -> tuple[int, int]:
    """Columns and rows of the slide: enough for two commits, unless a test says otherwise."""
    return COLUMNS, ROWS


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        state_dir=tmp_path / "state",
        models_dir=RELEASED_MODELS,
        runtime="litert",
        slide_threads=1,
        slide_lease_s=3.0,
    )


@pytest.fixture
def store(settings: Settings) -> SlideStore:
    return open_store(settings)


@pytest.fixture
def queue(settings: Settings) -> JobQueue:
    return open_queue(settings)


@pytest.fixture
def job(store: SlideStore, queue: JobQueue, cells: tuple[int, int], tmp_path: Path) -> Job:
    """A job on a slide that was uploaded."""
    upload, (columns, rows) = tmp_path / "upload", cells
    draw_slide(upload, Drawing(columns=columns, rows=rows, tissue=1.0, mpp=2.0))
    sha256 = sha256_of_slide(upload)
    source = open_slide(upload, None, DEFAULT_SLIDE_LIMITS, allow_companions=False)
    facts = source.facts
    source.close()
    record = SlideRecord(
        id=sha256,
        source="upload",
        facts=facts,
        columns=columns,
        rows=rows,
        created=datetime.now(UTC),
    )
    store.add(record, upload)
    bundle = find_bundle(RELEASED_MODELS, MODEL_NAME)
    request = JobRequest(
        slide_id=sha256,
        slide_sha256=sha256,
        model_name=MODEL_NAME,
        model_version=bundle.name,
        bundle_sha256=sha256_of_file(bundle / MANIFEST_NAME),
    )
    return queue.submit(request)[0]


def state_of(queue: JobQueue, job: Job) -> JobState:
    found = queue.get(job.id)
    assert found is not None
    assert found.failure is None
    return found.state


def places(folder: Path) -> list[tuple[str, str]]:
    with (folder / "tiles.csv").open(newline="") as file:
        return sorted((row["column"], row["row"]) for row in csv.DictReader(file))


@pytest.mark.usefixtures("forked_slides")
@pytest.mark.parametrize("cells", [SMALL])
def test_workers_of_a_service_answer_a_slide(
    store: SlideStore, queue: JobQueue, job: Job, settings: Settings, cells: tuple[int, int]
) -> None:
    metrics, n_tiles = Metrics(), math.prod(cells)
    with run_workers(settings, queue, store, metrics):
        wait_until(lambda: state_of(queue, job) == JobState.SUCCEEDED, timeout_s=600)
        gauge = 'osteo_slide_jobs{state="succeeded"} 1.0'
        wait_until(lambda: gauge in metrics.render().decode())
    folder = store.result_dir(job.id)
    assert json.loads((folder / "summary.json").read_text())["complete"]
    assert len(places(folder)) == n_tiles
    assert f"osteo_slide_tiles_total {n_tiles}.0" in metrics.render().decode()
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert set(modes.values()) == {0o600}, "results are for their owner only"


@pytest.mark.exhaustive
def test_slide_resumes_when_its_process_is_killed(
    store: SlideStore, queue: JobQueue, job: Job, settings: Settings
) -> None:
    folder = store.result_dir(job.id)
    with run_workers(settings, queue, store):
        wait_until(lambda: bool(processes_in(folder)), timeout_s=600)
        (process,) = processes_in(folder)
        stop_after_a_commit(process, folder)
        n_kept = n_committed(folder)
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: state_of(queue, job) == JobState.SUCCEEDED, timeout_s=600)
    done = queue.get(job.id)
    assert done is not None
    assert done.attempts == 2
    assert n_kept < COLUMNS * ROWS
    assert len(places(folder)) == COLUMNS * ROWS


def test_command_gives_a_slide_back_and_ends_it_later(
    queue: JobQueue, job: Job, settings: Settings, store: SlideStore
) -> None:
    environ = {
        **os.environ,
        "OSTEO_STATE_DIR": str(settings.state_dir),
        "OSTEO_MODELS_DIR": str(settings.models_dir),
        "OSTEO_RUNTIME": "litert",
        "OSTEO_SLIDE_THREADS": "1",
    }
    with ForkedProcess(["worker"], cwd=REPOSITORY, env=environ, stderr=subprocess.PIPE) as worker:
        wait_until(lambda: n_done(queue, job) > 0, timeout_s=600)
        worker.send_signal(signal.SIGTERM)
        _, log = worker.communicate()
    events = [json.loads(line) for line in log.splitlines()]
    assert [event["event"] for event in events] == ["slide_job_started", "slide_job_ended"]
    assert events[1]["outcome"] == "given back"
    assert worker.returncode == 0
    assert state_of(queue, job) == JobState.QUEUED
    with ForkedProcess(["worker", "--once"], cwd=REPOSITORY, env=environ) as worker:
        assert worker.wait() == 0
    assert state_of(queue, job) == JobState.SUCCEEDED
    assert len(places(store.result_dir(job.id))) == COLUMNS * ROWS


def n_done(queue: JobQueue, job: Job) -> int:
    found = queue.get(job.id)
    assert found is not None
    return found.progress.n_done
