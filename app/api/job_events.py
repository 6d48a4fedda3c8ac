"""Server-sent events about a job (HTML Living Standard, 9.2), until the job is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from fastapi import Response
from fastapi.responses import StreamingResponse

from app.core.slide_errors import JobsUnavailableError
from app.core.slide_store_errors import JobNotFoundError, TooManyStreamsError
from app.jobs.records import FINAL_STATES, Job
from app.jobs.slide_service import SlideService
from app.serving.readiness import Readiness

EVENT_STREAM: Final = "text/event-stream"
MAX_STREAMS: Final = 64
_POLL_S: Final = 0.5
_HEARTBEAT_S: Final = 15.0
"""Less than the idle time-outs of proxies, of which nginx's 60 s is a common one."""


class JobEvents:
    """Streams of events; each asks the queue twice a second."""

    def __init__(self, slides: SlideService, readiness: Readiness) -> None:
        """Watch the jobs of a service; the streams end when it drains."""
        self._slides = slides
        self._readiness = readiness
        self._n_streams = 0

    async def stream(self, job_id: str, describe: Callable[[Job], str]) -> Response:
        """The answer that streams the events of a job.

        Args:
            job_id: of the job.
            describe: makes the data of an event.

        Raises:
            JobNotFoundError: there is no such job.
            JobsUnavailableError: the queue cannot be reached.
            TooManyStreamsError: too many streams are open.
        """
        job = await self._slides.job(job_id)
        if self._n_streams >= MAX_STREAMS:
            raise TooManyStreamsError(MAX_STREAMS)
        return StreamingResponse(
            self._events(job, describe),
            media_type=EVENT_STREAM,
            headers={"X-Accel-Buffering": "no"},  # nginx would keep events until its buffer is full
        )

    async def _events(self, job: Job, describe: Callable[[Job], str]) -> AsyncIterator[str]:
        self._n_streams += 1
        try:
            sent = describe(job)
            yield f"retry: 2000\n{_event(sent)}"
            sent_at = time.monotonic()
            while job.state not in FINAL_STATES and not self._readiness.is_draining:
                await asyncio.sleep(_POLL_S)
                try:
                    job = await self._slides.job(job.id)
                except JobNotFoundError:
                    return
                except JobsUnavailableError:
                    continue
                data = describe(job)
                if data != sent:
                    yield _event(data)
                    sent, sent_at = data, time.monotonic()
                elif time.monotonic() - sent_at >= _HEARTBEAT_S:
                    yield ": waiting\n\n"
                    sent_at = time.monotonic()
        finally:
            self._n_streams -= 1


def _event(data: str) -> str:
    return f"event: job\ndata: {data}\n\n"  # JSON on one line
