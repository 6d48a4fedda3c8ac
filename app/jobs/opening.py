"""Open the queue that the settings name, and run workers for it."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from app.core.slide_errors import JobsUnavailableError
from app.jobs.lease_table import LeaseTable
from app.jobs.postgresql_database import PostgresqlDatabase
from app.jobs.queue import JobQueue
from app.jobs.sqlite_database import SqliteDatabase
from app.jobs.worker import SlideFolders, Worker
from app.settings import Settings
from app.telemetry.metrics import Metrics

FILE_NAME: Final = "jobs.sqlite3"
"""In `OSTEO_STATE_DIR`."""
_WATCH_PERIOD_S: Final = 2.0


def open_queue(settings: Settings) -> JobQueue:
    """The queue in `OSTEO_JOBS_URL`, or in a SQLite file; nothing is connected to yet.

    Raises:
        SettingsError: the URL cannot be used.
        ExtraMissingError: the driver of PostgreSQL is not installed.
    """
    if settings.jobs_url is not None:
        return LeaseTable(PostgresqlDatabase(settings.jobs_url.get_secret_value()))
    return LeaseTable(SqliteDatabase(settings.state_dir / FILE_NAME))


@contextmanager
def run_workers(
    settings: Settings, queue: JobQueue, store: SlideFolders, metrics: Metrics | None = None
) -> Iterator[None]:
    """Run `settings.slide_workers` workers in threads until the block ends.

    At the end, unfinished jobs are given back, which takes a few seconds at most.

    Args:
        settings: number of workers, limits, and the model's runtime.
        queue: of the jobs.
        store: of slides and results.
        metrics: counts tiles, and shows the jobs by state.
    """
    is_stopped = threading.Event()
    threads = [
        threading.Thread(target=worker.run, args=(is_stopped,), name="slide worker")
        for worker in _make_workers(settings, queue, store, metrics)
    ]
    if metrics is not None:
        watching = (queue, metrics, is_stopped)
        threads.append(threading.Thread(target=_watch_jobs, args=watching, name="slide jobs"))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_stopped.set()
        for thread in threads:
            thread.join()


def work(
    settings: Settings,
    queue: JobQueue,
    store: SlideFolders,
    is_stopped: threading.Event,
    *,
    until_empty: bool = False,
) -> None:
    """Work as `run_workers` does, and return when told to stop.

    Args:
        settings: number of workers, limits, and the model's runtime.
        queue: of the jobs.
        store: of slides and results.
        is_stopped: ends the work within seconds; unfinished jobs are given back.
        until_empty: also end when no job waits.

    Raises:
        JobsUnavailableError: the database is gone, with `until_empty`.
    """
    workers = _make_workers(settings, queue, store, Metrics())
    with ThreadPoolExecutor(max(1, len(workers)), "slide worker") as pool:
        running = [
            pool.submit(worker.run, is_stopped, until_empty=until_empty) for worker in workers
        ]
    for thread in running:
        thread.result()


def _make_workers(
    settings: Settings, queue: JobQueue, store: SlideFolders, metrics: Metrics | None
) -> list[Worker]:
    """Workers with names that no other machine, process or thread has."""
    process = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return [
        Worker(queue, store, settings, f"{process}-{number}", metrics)
        for number in range(1, settings.slide_workers + 1)
    ]


def _watch_jobs(queue: JobQueue, metrics: Metrics, is_stopped: threading.Event) -> None:
    """Keep the gauge of jobs up to date; a scrape must not wait for a database."""
    while True:
        try:
            for state, count in queue.counts().items():
                metrics.slide_jobs.labels(state.value).set(count)
        except JobsUnavailableError:
            metrics.slide_jobs.clear()  # rather no value than an old one
        if is_stopped.wait(_WATCH_PERIOD_S):
            return
