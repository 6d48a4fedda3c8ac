"""A loaded model with its worker threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

from app.inference.classifier import Classifier
from app.inference.drift import DriftWatch
from app.inference.results import TileResult
from app.runtime.cores import lower_thread_priority

Done = TypeVar("Done")


class ActiveModel:
    """A checked classifier with its own threads; it stays open until its last lease ends."""

    def __init__(
        self, classifier: Classifier, on_waiting: Callable[[int], None], drift_window_tiles: int
    ) -> None:
        """Start the threads.

        Args:
            classifier: checked.
            on_waiting: called with 1 when a tile starts waiting for a thread, -1 when it stops.
            drift_window_tiles: how many recent answers are compared with the bundle's reference.
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

    async def classify(self, tile_bytes: bytes, explain: str | None = None) -> TileResult:
        """Run `Classifier.classify` on a worker thread."""
        queued_at = time.perf_counter()
        return await self.run(lambda: self.classifier.classify(tile_bytes, queued_at, explain))

    async def run(self, work: Callable[[], Done]) -> Done:
        """Run `work` on a worker thread; if cancelled before it starts, it never runs."""
        self._on_waiting(1)
        waiting = [work]

        def stop_waiting() -> None:
            # The thread and a cancellation may call this at the same time; only one can pop.
            with suppress(IndexError):
                waiting.pop()
                self._on_waiting(-1)

        def begin() -> Done:
            stop_waiting()
            return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, begin)
        finally:
            stop_waiting()

    async def close(self) -> None:
        """Wait for the last lease to end, then free threads and memory."""
        await self._is_idle.wait()
        # The thread of a cancelled request may still be working on its tile.
        await asyncio.to_thread(self._pool.shutdown)
        self.classifier.close()
