"""`osteo worker`: work on the slides that wait, without serving HTTP."""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from types import FrameType
from typing import Annotated

import typer

from app.cli.endings import EXIT_FAILED, fail, plain_errors
from app.core.slide_errors import JobsUnavailableError
from app.jobs.opening import open_queue, work
from app.settings import read_settings
from app.telemetry.logs import configure_logs


def worker(
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Slides to work on at once, each in a process [OSTEO_SLIDE_WORKERS]."
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when no slide waits.")] = False,
) -> None:
    """Work on the slides that wait in the queue, until SIGTERM or Ctrl-C.

    A service works on slides itself. With OSTEO_SLIDE_WORKERS=0 it leaves
    them to this command, on the same machine or on others.

    On the same machine, with the same settings:  osteo worker

    On other machines, all of them, the service included, need the same
    queue and the same folders:

    OSTEO_JOBS_URL=postgresql://osteo@db/osteo OSTEO_STATE_DIR=/mnt/osteo osteo worker

    A worker may be killed at any time: another one resumes its slide after
    OSTEO_SLIDE_LEASE_S. Stopped with SIGTERM, it gives its slide back at once.

    Exit code 0: it stopped as asked. 1: the queue cannot be used (with
    --once). 2: a setting is wrong.
    """
    from app.slides.storage.store import open_store

    with plain_errors():
        settings = read_settings()
        # A setting of 0 is meant for the service.
        n_workers = workers or settings.slide_workers or 1
        settings = settings.model_copy(update={"slide_workers": n_workers})
        queue = open_queue(settings)
        store = open_store(settings)
    configure_logs(settings.log_level)
    is_stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        is_stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        with closing(queue):
            work(settings, queue, store, is_stopped, until_empty=once)
    except JobsUnavailableError as error:
        fail(f"{error} ({error.reason})", EXIT_FAILED)
