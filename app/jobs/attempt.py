"""One attempt at a job: a process works, and its worker renews the lease until it ends."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.core.slide_errors import JobsUnavailableError
from app.jobs.pace import Pace
from app.jobs.queue import JobQueue
from app.jobs.records import Job, JobFailure
from app.jobs.slide_process import SlideProcess
from app.telemetry.logs import LOGGER_NAME

_logger = logging.getLogger(LOGGER_NAME)

RENEWAL_PERIOD_S: Final = 0.5
"""How often progress is stored, and a cancelled job is noticed."""
_LOOK_PERIOD_S: Final = 0.1
"""How soon a worker that is to stop does so."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        failure: why it failed, if it did.
        may_retry: whether another attempt may succeed.
        is_lost: the job was cancelled or another worker has it.
        is_stopped: the worker stops; the job is unfinished.
    """

    failure: JobFailure | None = None
    may_retry: bool = False
    is_lost: bool = False
    is_stopped: bool = False


class Attempt:
    """Follows a process and renews the lease of its job."""

    def __init__(
        self,
        queue: JobQueue,
        job: Job,
        worker: str,
        lease_s: float,
        count_tiles: Callable[[int], None],
    ) -> None:
        """Take a job that was just leased.

        Args:
            queue: where the job is.
            job: the job.
            worker: who has leased it.
            lease_s: length of a lease in seconds.
            count_tiles: is told how many tiles more are done.
        """
        self._queue, self._job, self._worker = queue, job, worker
        self._lease_s = lease_s
        self._period_s = min(RENEWAL_PERIOD_S, lease_s / 3)
        self._renew_at = 0.0
        self._is_queue_gone = False
        self.pace = Pace(job.progress, count_tiles)

    def follow(
        self, process: SlideProcess, timeout_s: float, is_stopped: threading.Event
    ) -> Outcome:
        """Work until the process ends, or must end.

        Args:
            process: just started.
            timeout_s: after which it is killed.
            is_stopped: the worker is to stop.
        """
        deadline = time.monotonic() + timeout_s
        while process.is_running:
            progressed = process.read(_LOOK_PERIOD_S)
            if progressed is not None:
                self.pace.note(progressed.stage, progressed.n_done, progressed.n_tiles)
            if time.monotonic() >= self._renew_at and not self._renew():
                return Outcome(is_lost=True)
            if is_stopped.is_set():
                process.stop()
                if process.ended is None:
                    return Outcome(is_stopped=True)
                break  # it may have been at its last tile
            if time.monotonic() > deadline:
                return Outcome(_too_slow(timeout_s), may_retry=True)
        return self._outcome_of(process)

    def _renew(self) -> bool:
        """Renew the lease; while the queue is gone, the work goes on, since nobody can take it."""
        self._renew_at = time.monotonic() + self._period_s
        try:
            is_ours = self._queue.renew(
                self._job.id, self._worker, self._lease_s, self.pace.progress
            )
        except JobsUnavailableError as error:
            if not self._is_queue_gone:
                _logger.warning("jobs_unavailable", extra={"reason": error.reason})
            self._is_queue_gone = True
            return True
        self._is_queue_gone = False
        return is_ours

    def _outcome_of(self, process: SlideProcess) -> Outcome:
        ended = process.ended
        if ended is None:
            return Outcome(_crashed(process, self._job), may_retry=True)
        if ended.is_stopped:  # somebody stopped the process and not the worker
            return Outcome(is_stopped=True)
        if ended.log is not None:
            details = {"job_id": self._job.id, "traceback": ended.log}
            _logger.error("slide_process_failed", extra=details)
        if ended.failure is None:
            self._renew()  # with the last progress
        return Outcome(ended.failure, ended.may_retry)


def _crashed(process: SlideProcess, job: Job) -> JobFailure:
    """Log how a process ended that said nothing, and say it."""
    status = process.exit_status
    details = {"job_id": job.id, "exit_status": status, "traceback": process.traceback}
    _logger.error("slide_process_crashed", extra=details)
    if status == -signal.SIGKILL:
        reason = "was killed, perhaps because the machine had no memory left"
    elif status < 0:
        reason = f"crashed ({signal.Signals(-status).name})"
    else:
        reason = f"ended with exit status {status}"
    return JobFailure(
        code="slide-process-crashed",
        detail=f"The process that worked on the slide {reason}. The log of the worker says more.",
    )


def _too_slow(timeout_s: float) -> JobFailure:
    return JobFailure(
        code="slide-timeout",
        detail=f"The slide was not done within {timeout_s:g} s (see OSTEO_SLIDE_TIMEOUT_S).",
    )
