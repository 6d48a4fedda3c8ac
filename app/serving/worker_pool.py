"""A loaded model with its worker threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from app.core.errors import DeadlineError, OutOfMemoryError, RuntimeUnavailableError
from app.inference.classifier import Classifier
from app.inference.drift import DriftWatch
from app.runtime.cores import lower_thread_priority
from app.telemetry.tracing import carried

STUCK_AFTER_S: Final = 15.0
"""A worker that still works on a tile this long after the tile's deadline is stuck. Ordinary work
that began just before its deadline is over by then."""

Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a request must be answered: `time.monotonic()`, and its limit in seconds."""

    at: float
    limit_s: float

    def require_time(self, needed_s: float) -> None:
        """Check that the time left is enough.

        An estimate may be far too high, and it is corrected only by trying. So the request is tried
        whenever half of the limit is left.

        Raises:
            DeadlineError: it is not.
        """
        if self.at - time.monotonic() < min(needed_s, self.limit_s / 2):
            raise DeadlineError(self.limit_s)


class ActiveModel:
    """A checked classifier with its own threads; it stays open until its last lease ends."""

    def __init__(
        self, classifier: Classifier, on_waiting: Callable[[int], None], drift_window_tiles: int
    ) -> None:
        """Start all threads.

        Args:
            classifier: checked.
            on_waiting: called with 1 when a tile starts waiting for a thread, -1 when it stops.
            drift_window_tiles: how many recent answers are compared with the bundle's reference.

        Raises:
            RuntimeUnavailableError: the system does not allow so many threads.
        """
        self.classifier = classifier
        manifest = classifier.bundle.manifest
        record = manifest.assessment
        self.drift = (
            DriftWatch(record.drift, manifest.label_ids, drift_window_tiles) if record else None
        )
        self._on_waiting = on_waiting
        self._pool = ThreadPoolExecutor(
            classifier.runtime.n_workers,
            thread_name_prefix=f"tile-v{classifier.identity.version}",
            # TensorFlow computes in threads of its own at normal priority, and decoding at a
            # lower one would wait for them.
            initializer=lower_thread_priority if classifier.runtime.computes_in_caller else None,
        )
        self._start_threads()
        self._ends_by: dict[object, float] = {}
        self._n_leases = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Keep the model open during a `with` block."""
        self._n_leases += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._n_leases -= 1
            if self._n_leases == 0:
                self._is_idle.set()

    async def run(
        self,
        work: Callable[[], Done],
        deadline: Deadline,
        needed_s: float,
        on_worked: Callable[[float], None],
    ) -> Done:
        """Run `work` on a worker thread; if cancelled before it starts, it never runs.

        Args:
            work: the work on one tile.
            deadline: of its request.
            needed_s: time that the request still needs when the work begins.
            on_worked: called on the worker thread with the seconds that `work` took, whatever its
                outcome and even if it was cancelled meanwhile.

        Raises:
            DeadlineError: too little time was left when a thread was free; the work did not begin.
            OutOfMemoryError: the work ran out of memory.
        """
        self._on_waiting(1)
        waiting = [work]

        def stop_waiting() -> None:
            # The thread and a cancellation may call this at the same time; only one can pop.
            with suppress(IndexError):
                waiting.pop()
                self._on_waiting(-1)

        def begin() -> Done:
            stop_waiting()
            deadline.require_time(needed_s)
            with self._watched(deadline, on_worked):
                return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, carried(begin))
        except MemoryError:
            raise OutOfMemoryError from None
        finally:
            stop_waiting()

    def n_stuck_threads(self) -> int:
        """Count the threads that should have finished their tile long ago."""
        now = time.monotonic()
        return sum(ends_by < now for ends_by in list(self._ends_by.values()))

    async def close(self) -> None:
        """Wait for the last lease to end, then free threads and memory."""
        await self._is_idle.wait()
        # The thread of a cancelled request may still be working on its tile.
        await asyncio.to_thread(self._pool.shutdown)
        self.classifier.close()

    @contextmanager
    def _watched(self, deadline: Deadline, on_worked: Callable[[float], None]) -> Iterator[None]:
        """Note on a worker thread that it is at work, and then how long it was."""
        key, started = object(), time.monotonic()
        self._ends_by[key] = deadline.at + STUCK_AFTER_S
        try:
            yield
        finally:
            del self._ends_by[key]
            on_worked(time.monotonic() - started)

    def _start_threads(self) -> None:
        """Start the pool's threads, which would otherwise start with the first tiles."""
        n_threads = self.classifier.runtime.n_workers
        all_started = threading.Event()  # until then each thread is busy, so that another starts
        try:
            for _ in range(n_threads):
                self._pool.submit(all_started.wait)
        except RuntimeError as error:
            self._pool.shutdown(wait=False, cancel_futures=True)
            raise RuntimeUnavailableError(
                self.classifier.runtime.name,
                f"not all of its {n_threads} worker threads could be started. Raise the limit on "
                "processes and threads, or lower OSTEO_WORKERS.",
            ) from error
        finally:
            all_started.set()
