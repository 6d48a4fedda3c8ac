"""Slides, their jobs and their expiry: what the routes ask for, without HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Final

from app.core.errors import OsteoError
from app.core.slide_errors import ExtraMissingError, JobsDiskFullError, JobsUnavailableError
from app.core.slide_store_errors import (
    JobNotFoundError,
    JobStateError,
    ResultNotFoundError,
    SlideInUseError,
)
from app.jobs.asking import ask, ask_to_store
from app.jobs.job_room import require_room
from app.jobs.queue import ALL_JOBS, JobQueue
from app.jobs.records import FINAL_STATES, Job, JobRequest, JobState
from app.settings import Settings
from app.slides.storage.adding import SlideIntake
from app.slides.storage.slide_record import SlideRecord
from app.slides.storage.store import open_store
from app.slides.viewing.readers import Readers, SlideFile
from app.telemetry.logs import LOGGER_NAME
from app.telemetry.metrics import Metrics

SUMMARY_NAME: Final = "summary.json"
_SWEEP_S: Final = 600.0
_HOUR_S: Final = 3600.0

_logger = logging.getLogger(LOGGER_NAME)


class SlideService:
    """The slides of a service; used from the event loop only.

    The queue and the workers are opened when the first slide is asked for, or at start if the
    state folder has slides: a job that a kill has interrupted then goes on by itself.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Open nothing yet."""
        self.settings = settings
        self._metrics = metrics
        self.store = open_store(settings)
        self.readers = Readers(settings.slide_limits, settings.slide_memory_bytes)
        self.intake = SlideIntake(self.store, self.readers, settings)
        self._queue: JobQueue | None = None
        self._workers: AbstractContextManager[object] | None = None
        self._opening = asyncio.Lock()
        self._submitting = asyncio.Lock()
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Go on with the jobs of an earlier service, if there can be any."""
        if self.store.exists or self.settings.jobs_url is not None:
            try:
                await self._require_queue()
            except (ExtraMissingError, JobsUnavailableError) as error:
                # Tiles are classified all the same; the next request for a job tries again.
                _logger.warning("slide_queue_unavailable", extra={"reason": error.code})

    async def stop(self) -> None:
        """Give back unfinished jobs, and end all processes."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        async with self._opening:
            workers, self._workers = self._workers, None
            queue, self._queue = self._queue, None
            if workers is not None:
                await asyncio.to_thread(workers.__exit__, None, None, None)
            if queue is not None:
                await asyncio.to_thread(queue.close)
        self.intake.close()
        await asyncio.to_thread(self.readers.close)

    async def submit(self, request: JobRequest) -> tuple[Job, bool]:
        """Queue a job, unless the same question was asked before and has its answer on disk.

        Returns:
            The job, and whether it was queued now.

        Raises:
            TooManyJobsError: too many jobs wait.
            SlidesFullError: the quota has no room for the results.
            DiskFullError: the disk has no room for them or for the job.
            JobsUnavailableError: the queue cannot be reached.
        """
        queue = await self._require_queue()
        async with self._submitting:  # or two requests would take the same room
            known = await ask(lambda: queue.get(request.key))
            if known and known.state is JobState.SUCCEEDED and not self.has_results(known.id):
                await ask_to_store(lambda: queue.delete(request.key))
                known = None
            if known is None or known.state in {JobState.FAILED, JobState.CANCELLED}:
                active = await ask(queue.active)
                await asyncio.to_thread(require_room, self.store, active, request)
            job, is_new = await ask_to_store(lambda: queue.submit(request))
        self.store.touch(request.slide_id)
        return job, is_new

    async def job(self, job_id: str) -> Job:
        """A job.

        Raises:
            JobNotFoundError: there is no such job.
            JobsUnavailableError: the queue cannot be reached.
        """
        queue = await self._require_queue()
        job = await ask(lambda: queue.get(job_id))
        if job is None:
            raise JobNotFoundError
        return job

    async def jobs(self, slide_id: str | None, limit_jobs: int = ALL_JOBS) -> Sequence[Job]:
        """The jobs of a slide, or of all, the newest first, and at most so many.

        Raises:
            JobsUnavailableError: the queue cannot be reached.
        """
        queue = await self._require_queue()
        return await ask(lambda: queue.list(slide_id, limit_jobs))

    async def end_job(self, job_id: str) -> Job | None:
        """Cancel a job that is not over; forget one that is, with its results.

        Returns:
            The cancelled job; None if it was forgotten.

        Raises:
            JobNotFoundError: there is no such job.
            DiskFullError: the disk has no room for the change.
            JobsUnavailableError: the queue cannot be reached.
        """
        queue = await self._require_queue()
        job = await self.job(job_id)
        if job.state not in FINAL_STATES:
            cancelled = await ask_to_store(lambda: queue.cancel(job_id))
            return cancelled or job
        await self._forget(queue, job_id)
        return None

    async def delete_slide(self, slide_id: str) -> SlideRecord:
        """Delete a slide, its jobs and their results.

        Raises:
            SlideNotFoundError: there is no such slide.
            SlideInUseError: a job works on it or waits for it.
            DiskFullError: the disk has no room for the change, not even without the slide.
            JobsUnavailableError: the queue cannot be reached.
        """
        record = await asyncio.to_thread(self.store.record, slide_id)
        await self._delete(slide_id)
        return record

    def has_results(self, job_id: str) -> bool:
        """Whether the outputs of a job are on disk."""
        return (self.store.results_of(job_id) / SUMMARY_NAME).is_file()

    async def result(self, job_id: str, name: str, names: Sequence[str]) -> tuple[Job, Path]:
        """The file of one output of a job that has succeeded.

        Args:
            job_id: of the job.
            name: of the output.
            names: that outputs can have.

        Raises:
            JobNotFoundError: there is no such job.
            JobStateError: it has not succeeded.
            ResultNotFoundError: it has no such output.
            JobsUnavailableError: the queue cannot be reached.
        """
        job = await self.job(job_id)
        if job.state is not JobState.SUCCEEDED:
            raise JobStateError(job.state, "it has results once it has succeeded.")
        folder = self.store.results_of(job_id)
        found = [known for known in names if (folder / known).is_file()]
        if name not in found:
            raise ResultNotFoundError(found)
        self.store.touch(job.slide_id)
        self.store.touch_results(job_id)
        return job, folder / name

    async def slide_file(self, slide_id: str) -> SlideFile:
        """A slide as the readers open it.

        Raises:
            SlideNotFoundError: there is no such slide, or it is gone from its mount.
            SlideChangedError: its files are others than when it was added.
        """
        record = await asyncio.to_thread(self.store.record, slide_id)
        path = await asyncio.to_thread(self.store.path_of, slide_id)
        self.store.touch(slide_id)
        is_upload = record.source == "upload"
        return SlideFile(path, record.mpp, not is_upload, record.stamp or slide_id)

    async def delete_expired(self) -> None:
        """Delete uploads, slides and results that were not used for longer than the settings say.

        Raises:
            JobsUnavailableError: the queue cannot be reached.
        """
        expiry_s = self.settings.slide_expiry_h * _HOUR_S
        upload_expiry_s = self.settings.upload_expiry_h * _HOUR_S
        queue = await self._require_queue()
        n_uploads = await asyncio.to_thread(self.store.uploads.delete_unused, upload_expiry_s)
        n_slides = n_results = 0
        for slide_id in await asyncio.to_thread(list, self.store.unused_slides(expiry_s)):
            try:
                await self._delete(slide_id)
                n_slides += 1
            except SlideInUseError:
                self.store.touch(slide_id)
        for job_id in await asyncio.to_thread(list, self.store.unused_results(expiry_s)):
            job = await ask(partial(queue.get, job_id))
            if job is None or job.state in FINAL_STATES:
                await self._forget(queue, job_id)
                n_results += 1
        if n_uploads or n_slides or n_results:
            counts = {"n_uploads": n_uploads, "n_slides": n_slides, "n_results": n_results}
            _logger.info("slides_expired", extra=counts)

    async def _delete(self, slide_id: str) -> None:
        queue = await self._require_queue()
        jobs = await ask(lambda: queue.list(slide_id))
        active = [job.id for job in jobs if job.state not in FINAL_STATES]
        if active:
            raise SlideInUseError(active)
        # First, so that a full disk has room for the changes of the jobs. No job can begin now.
        await asyncio.to_thread(self.store.discard, slide_id)
        for job in jobs:
            await self._forget(queue, job.id)

    async def _forget(self, queue: JobQueue, job_id: str) -> None:
        """Delete a job that is over and its results, unless it was submitted again meanwhile."""
        try:
            is_over = await ask(lambda: queue.delete(job_id))
        except JobsDiskFullError:  # so nobody can submit it: its results make room for the change
            await asyncio.to_thread(self.store.delete_results, job_id)
            is_over = await ask_to_store(lambda: queue.delete(job_id))
        if is_over:
            await asyncio.to_thread(self.store.delete_results, job_id)

    async def _require_queue(self) -> JobQueue:
        """The queue, opened with its workers at the first call."""
        async with self._opening:
            if self._queue is None:
                self._queue = await ask(self._open)
                self._sweeping = asyncio.create_task(self._sweep())
            return self._queue

    def _open(self) -> JobQueue:
        from app.jobs.opening import open_queue, run_workers

        queue = open_queue(self.settings)
        try:  # without workers it still shows the jobs in the metrics
            workers = run_workers(self.settings, queue, self.store, self._metrics)
            workers.__enter__()
        except BaseException:
            queue.close()
            raise
        self._workers = workers
        return queue

    async def _sweep(self) -> None:
        while True:
            try:
                await self.delete_expired()
            except OsteoError as error:
                _logger.warning("slide_expiry_failed", extra={"reason": error.code})
            except OSError as error:  # the folder cannot be used now
                _logger.warning("slide_expiry_failed", extra={"reason": error.strerror})
            self.readers.end_idle()
            await asyncio.sleep(_SWEEP_S)
