"""Whether there is room for another job: in the queue, and for its results on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from app.core.slide_store_errors import SlideNotFoundError, TooManyJobsError
from app.jobs.records import Job, JobParameters, JobRequest, JobState
from app.slides.storage.store import SlideStore

MAX_WAITING_JOBS: Final = 100
"""At a minute a slide, more would wait for hours; callers with more slides submit them later."""
_TILE_BYTES: Final = 4096
"""Size of all results of one tile, including the checkpoint; rounded up."""
_REPORT_BYTES: Final = 4 * 1024**2
"""Size of the pictures and the report, which does not depend on the number of tiles."""


def require_room(store: SlideStore, active: Sequence[Job], request: JobRequest) -> None:
    """Refuse a job that would wait too long, or for whose results there is no room.

    The results of the jobs that wait or run are counted as if none of them was written yet.

    Args:
        store: of slides and results.
        active: the jobs that wait or run.
        request: the job that is to be queued.

    Raises:
        TooManyJobsError: `MAX_WAITING_JOBS` jobs wait.
        SlidesFullError: the quota does not have the room.
        DiskFullError: the disk does not have it.
    """
    if sum(job.state is JobState.QUEUED for job in active) >= MAX_WAITING_JOBS:
        raise TooManyJobsError(MAX_WAITING_JOBS)
    n_bytes = results_bytes(store, request.slide_id, request.parameters)
    for job in active:
        n_bytes += results_bytes(store, job.slide_id, job.parameters)
    store.quota.require(n_bytes)


def results_bytes(store: SlideStore, slide_id: str, parameters: JobParameters) -> int:
    """Estimated size of a job's results in bytes; 0 if its slide is gone."""
    try:
        record = store.record(slide_id)
    except SlideNotFoundError:
        return 0
    n_tiles = record.columns * record.rows
    if parameters.mpp is not None:  # pixels twice as large make four times as many tiles
        n_tiles = round(n_tiles * (parameters.mpp / record.facts.mpp) ** 2)
    return _REPORT_BYTES + n_tiles * _TILE_BYTES
