"""Jobs that a worker has finished, with results that are written as a run writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.jobs.opening import open_queue
from app.jobs.records import Job, JobFailure, JobProgress
from app.settings import Settings
from app.slides.checkpoint import Checkpoint
from app.slides.outputs.writing import write_outputs
from app.slides.run import CHECKPOINT_NAME
from app.slides.storage.store import open_store
from tests.slides.outputs.making import (
    CAM_SHAPE,
    make_manifest,
    make_overview,
    make_rows,
    make_square,
    make_summary,
)

_WORKER = "worker"


def settings_of(client: Any) -> Settings:
    """The settings of a test client's service."""
    settings: Settings = client.app.state.slides.settings
    return settings


def run_job(client: Any, folder: Path, failure: JobFailure | None = None) -> Job:
    """Work on the oldest job that waits: write results, and end it.

    Args:
        client: of the service.
        folder: for a manifest.
        failure: why it fails; it succeeds if None.
    """
    settings = settings_of(client)
    queue = open_queue(settings)
    try:
        job = queue.lease(_WORKER, 60)
        assert job is not None
        queue.renew(job.id, _WORKER, 60, JobProgress(stage="writing", n_done=9, n_tiles=9))
        if failure is None:
            write_results(open_store(settings).result_dir(job.id), job, folder)
        assert queue.finish(job.id, _WORKER, failure)
        done = queue.get(job.id)
        assert done is not None
        return done
    finally:
        queue.close()


def write_results(out_dir: Path, job: Job, folder: Path) -> None:
    """Write all outputs of a made-up slide of 12 x 10 tiles."""
    rows = make_rows(12, 10)
    model = {"name": job.model_name, "version": job.model_version}
    summary = make_summary(rows, 12, 10)
    identity = summary.model.model_copy(update={**model, "bundle_sha256": job.bundle_sha256})
    summary = summary.model_copy(update={"sha256": job.slide_sha256, "model": identity})
    folder.mkdir(exist_ok=True)
    overview = make_overview(rows, summary, 600)
    manifest = make_manifest(folder)
    write_outputs(out_dir, summary, rows, overview, manifest, CAM_SHAPE, make_square)
    with Checkpoint(out_dir / CHECKPOINT_NAME, "key") as checkpoint:
        checkpoint.append(rows)
