"""Workers in this process and in others, their folders, and what they have worked on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from app.jobs.opening import open_queue
from app.jobs.queue import JobQueue
from app.jobs.records import Job
from app.jobs.worker import Worker
from app.settings import Settings
from tests.forking import ForkedProcess
from tests.jobs.fake_slides import GATE, WORKED, program_of


class Folders:
    """The part of a store that a worker needs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.touched: list[str] = []

    def path_of(self, slide_id: str) -> Path:
        return self.root / "mount" / f"Nobody_{slide_id[:8]}.svs"

    def result_dir(self, job_id: str) -> Path:
        folder = self.root / "results" / job_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def touch(self, slide_id: str) -> None:
        self.touched.append(slide_id)

    def open_gate(self, job: Job, n_rows: int) -> None:
        """Let a process work on that many rows."""
        gate = self.result_dir(job.id) / GATE
        fresh = gate.with_suffix(".new")
        fresh.write_text(str(n_rows))
        fresh.replace(gate)

    def worked(self, job: Job) -> list[tuple[int, int]]:
        """Process and number of each row that was worked on; the last line may be unfinished."""
        try:
            lines = (self.result_dir(job.id) / WORKED).read_text().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        whole = [line.split() for line in lines if line.endswith("\n")]
        return [(int(process), int(number)) for process, number in whole]

    def n_repeated(self, job: Job) -> int:
        numbers = [number for _, number in self.worked(job)]
        return len(numbers) - len(set(numbers))


def worker_of(
    queue: JobQueue, folders: Folders, settings: Settings, behaviour: str, name: str = "w"
) -> Worker:
    return Worker(queue, folders, settings, name, program=program_of(behaviour))


@contextmanager
def running(worker: Worker) -> Iterator[None]:
    """Run a worker in a thread until the block ends."""
    is_stopped = threading.Event()
    thread = threading.Thread(target=worker.run, args=(is_stopped,))
    thread.start()
    try:
        yield
    finally:
        is_stopped.set()
        thread.join()


def _forked(command: list[str], *, process_group: int, **options: Any) -> ForkedProcess:
    """What `SlideProcess` starts, without the second of imports. Its parent is not the worker."""
    *_, program, max_bytes = command
    assert process_group == 0
    return ForkedProcess([max_bytes], code=program, program="-c", **options)


@contextmanager
def forked_slide_processes() -> Iterator[None]:
    """Let workers of this process fork the processes that work on slides."""
    forking = SimpleNamespace(**{**vars(subprocess), "Popen": _forked})
    with mock.patch("app.jobs.slide_process.subprocess", forking):
        yield


def main() -> None:
    """A program that works until it is killed; its settings are variables."""
    root, name, behaviour, is_forking = sys.argv[1:]
    settings = Settings()
    worker = worker_of(open_queue(settings), Folders(Path(root)), settings, behaviour, name)
    with forked_slide_processes() if is_forking == "True" else nullcontext():
        worker.run(threading.Event())
