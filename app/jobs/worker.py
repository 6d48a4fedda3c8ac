"""A worker: takes jobs one after the other, each in a process of its own."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from app.core.errors import OsteoError
from app.core.slide_errors import JobsUnavailableError
from app.jobs.attempt import Attempt, Outcome
from app.jobs.queue import JobQueue
from app.jobs.records import MAX_ATTEMPTS, Job, JobFailure
from app.jobs.slide_messages import order_of
from app.jobs.slide_process import PROGRAM, SlideProcess
from app.settings import Settings
from app.telemetry.logs import LOGGER_NAME
from app.telemetry.metrics import Metrics

_logger = logging.getLogger(LOGGER_NAME)

POLL_PERIOD_S: Final = 0.5
"""How often an idle worker looks for a job."""
_RETRY_PERIOD_S: Final = 1.0


class SlideFolders(Protocol):
    """Where slides and results are; `app.slides.storage.store.SlideStore` is one."""

    def path_of(self, slide_id: str) -> Path:
        """The file of a slide, or the folder of a series."""

    def result_dir(self, job_id: str) -> Path:
        """The folder for the results of a job; it is made."""

    def touch(self, slide_id: str) -> None:
        """Note that a slide is used."""


class Worker:
    """Works on one slide at a time; `run` belongs to one thread."""

    def __init__(
        self,
        queue: JobQueue,
        store: SlideFolders,
        settings: Settings,
        name: str,
        metrics: Metrics | None = None,
        program: str = PROGRAM,
    ) -> None:
        """Take nothing yet.

        Args:
            queue: of the jobs.
            store: of slides and results.
            settings: limits, and the model's runtime.
            name: differs from that of every other worker of the queue.
            metrics: counts tiles.
            program: Python code that works on a slide.
        """
        self._queue, self._store, self._settings, self._name = queue, store, settings, name
        self._metrics = Metrics() if metrics is None else metrics
        self._program = program

    def run(self, is_stopped: threading.Event, *, until_empty: bool = False) -> None:
        """Work until told to stop; while the database is gone, wait for it.

        Args:
            is_stopped: ends the work within seconds; an unfinished job is given back.
            until_empty: also end when no job waits.

        Raises:
            JobsUnavailableError: the database is gone, with `until_empty`.
        """
        is_gone = False
        while not is_stopped.is_set():
            try:
                job = self._queue.lease(self._name, self._settings.slide_lease_s)
            except JobsUnavailableError as error:
                if until_empty:
                    raise
                if not is_gone:
                    _logger.warning("jobs_unavailable", extra={"reason": error.reason})
                is_gone = True
                is_stopped.wait(_RETRY_PERIOD_S)
                continue
            is_gone = False
            if job is not None:
                self._work_safely(job, is_stopped)
            elif until_empty:
                return
            else:
                is_stopped.wait(POLL_PERIOD_S)

    def _work_safely(self, job: Job, is_stopped: threading.Event) -> None:
        """Work, and survive an error of this program: the job's lease will run out."""
        try:
            self._work(job, is_stopped)
        except Exception:
            _logger.exception("slide_worker_failed", extra={"job_id": job.id})

    def _work(self, job: Job, is_stopped: threading.Event) -> None:
        """Make an attempt at a job, and tell the queue how it ended."""
        details = {"job_id": job.id, "slide_sha256": job.slide_sha256, "attempt": job.attempts}
        _logger.info("slide_job_started", extra=details)
        began = time.monotonic()
        attempt = Attempt(
            self._queue,
            job,
            self._name,
            self._settings.slide_lease_s,
            self._metrics.slide_tiles.inc,
        )
        outcome = self._attempt(job, attempt, is_stopped)
        state = self._end(job, outcome, is_stopped)
        _logger.log(
            logging.WARNING if outcome.failure else logging.INFO,
            "slide_job_ended",
            extra=details
            | {
                "outcome": state,
                "n_tiles": attempt.pace.progress.n_done,
                "seconds": round(time.monotonic() - began, 1),
                "problem": outcome.failure and outcome.failure.code,
                "reason": outcome.failure and outcome.failure.detail,
            },
        )

    def _attempt(self, job: Job, attempt: Attempt, is_stopped: threading.Event) -> Outcome:
        try:
            self._store.touch(job.slide_id)
            path = self._store.path_of(job.slide_id)
            order = order_of(job, path, self._store.result_dir(job.id), self._settings)
        except OsteoError as error:  # such as a slide that was deleted, or a full disk
            return Outcome(JobFailure(code=error.code, detail=str(error)))
        except OSError as error:
            _logger.error("slide_store_failed", extra={"reason": error.strerror})  # noqa: TRY400 - the reason is enough
            detail = f"The folder of slides and results cannot be used ({error.strerror})."
            return Outcome(JobFailure(code="slide-store-failed", detail=detail), may_retry=True)
        try:
            process = SlideProcess(order, self._settings.slide_memory_bytes, self._program)
        except OSError as error:
            _logger.error("slide_process_not_started", extra={"reason": error.strerror})  # noqa: TRY400 - the reason is enough
            detail = "The machine has no memory for a process that works on the slide."
            return Outcome(
                JobFailure(code="slide-process-not-started", detail=detail), may_retry=True
            )
        try:
            return attempt.follow(process, self._settings.slide_timeout_s, is_stopped)
        finally:
            process.close()
            with suppress(OSError):
                self._store.touch(job.slide_id)

    def _end(self, job: Job, outcome: Outcome, is_stopped: threading.Event) -> str:
        """Tell the queue, as soon as it answers; when stopping, leave it to the lease.

        Returns:
            What became of the job, for the log.
        """
        while True:
            try:
                return self._tell(job, outcome)
            except JobsUnavailableError as error:
                _logger.warning("jobs_unavailable", extra={"reason": error.reason})
                if is_stopped.wait(_RETRY_PERIOD_S):
                    return "left"

    def _tell(self, job: Job, outcome: Outcome) -> str:
        if outcome.is_lost:
            return "cancelled or taken by another worker"
        if outcome.is_stopped:
            self._queue.release(job.id, self._name)
            return "given back"
        if outcome.may_retry:
            self._queue.release(job.id, self._name, outcome.failure)
            return "failed" if job.attempts >= MAX_ATTEMPTS else "will be retried"
        is_ours = self._queue.finish(job.id, self._name, outcome.failure)
        if not is_ours:
            return "cancelled or taken by another worker"
        return "failed" if outcome.failure else "succeeded"
