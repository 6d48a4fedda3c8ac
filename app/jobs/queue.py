"""The interface of all job queues.

A worker takes a job on a lease and renews the lease while it works. If the worker dies, the lease
runs out and another worker takes the job, which resumes at its checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from app.jobs.records import Job, JobFailure, JobProgress, JobRequest, JobState

ALL_JOBS: Final = 2**31 - 1


class JobQueue(Protocol):
    """A queue that survives the death of any of its users; any thread may call its methods.

    Every method raises `JobsUnavailableError` if the database cannot be used now.
    """

    def submit(self, request: JobRequest) -> tuple[Job, bool]:
        """Queue a job, unless one with the same key is queued, running or succeeded.

        A job that failed or was cancelled is queued again, with its attempts at 0.

        Returns:
            The job, and whether it was queued now.
        """

    def get(self, job_id: str) -> Job | None:
        """The job, or None."""

    def list(self, slide_id: str | None = None, limit_jobs: int = ALL_JOBS) -> Sequence[Job]:
        """The jobs of a slide, or of all, the newest first, and at most so many."""

    def active(self) -> Sequence[Job]:
        """The jobs that wait or run, the newest first."""

    def cancel(self, job_id: str) -> Job | None:
        """Cancel a job that is not final; its worker stops at its next renewal."""

    def delete(self, job_id: str) -> bool:
        """Forget a final job; False if there is none or it is not final."""

    def lease(self, worker: str, lease_s: float) -> Job | None:
        """Take the oldest job that is queued, or whose lease ran out; its attempts grow by 1.

        A job whose lease ran out for the `MAX_ATTEMPTS`th time becomes failed instead.
        """

    def renew(self, job_id: str, worker: str, lease_s: float, progress: JobProgress) -> bool:
        """Extend a lease and store the progress.

        Returns:
            False if the worker must stop: the job was cancelled, or another worker has it.
        """

    def finish(self, job_id: str, worker: str, failure: JobFailure | None) -> bool:
        """End a job as succeeded, or as failed; False if the worker no longer has it."""

    def release(self, job_id: str, worker: str, failure: JobFailure | None = None) -> None:
        """Give a job back unfinished; nothing happens if the worker no longer has it.

        Args:
            job_id: the job.
            worker: who has it.
            failure: why the attempt failed; the job fails with it if this was the
                `MAX_ATTEMPTS`th. None if the worker shuts down: the attempt does not count.
        """

    def counts(self) -> Mapping[JobState, int]:
        """Number of jobs by state; every state is there."""

    def close(self) -> None:
        """Close connections."""
