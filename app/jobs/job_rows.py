"""A job as a row of the table, and back."""

from __future__ import annotations

from datetime import UTC, datetime

from app.jobs.database import Row
from app.jobs.records import Job, JobFailure, JobProgress, JobRequest, JobState


def job_of(row: Row) -> Job:
    """The job of a row as `statements.GET` finds it."""
    job_id, state, request_json, attempts, progress, failure, created, started, finished = row
    request = JobRequest.model_validate_json(request_json)
    return Job(
        id=job_id,
        state=JobState(state),
        slide_id=request.slide_id,
        slide_sha256=request.slide_sha256,
        bundle_sha256=request.bundle_sha256,
        model_name=request.model_name,
        model_version=request.model_version,
        parameters=request.parameters,
        attempts=attempts,
        progress=JobProgress.model_validate_json(progress),
        failure=None if failure is None else JobFailure.model_validate_json(failure),
        created=datetime.fromtimestamp(created, UTC),
        started=_time(started),
        finished=_time(finished),
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
