"""Micro-batching: combine single tiles from many threads into batches.

`MicroBatchingRuntime` wraps a runtime and is one itself, so its callers need not know of batches.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from app.runtime.protocol import ModelOutputs, Runtime

_Waiting = tuple[NDArray[np.uint8], "Future[ModelOutputs]"]


class MicroBatchingRuntime:
    """Collects tiles until a batch is full or its first tile has waited for `max_delay_s`.

    A batch is full when it has `max_batch_tiles`, or its thread's share of all tiles in the
    runtime. So a single client never waits, and all threads get batches of equal size.

    Batches are padded to a few sizes (powers of two), each of which runs once at the start:
    TensorFlow traces, and a GPU tunes, each new batch size once, which should not delay a request.
    """

    def __init__(
        self,
        runtime: Runtime,
        side_px: int,
        max_batch_tiles: int,
        max_delay_s: float,
        on_batch: Callable[[int], None],
    ) -> None:
        """Run every batch size once and start the threads.

        Args:
            runtime: runs the batches, `runtime.n_workers` at a time.
            side_px: side of a tile, in pixels.
            max_batch_tiles: maximum number of tiles in a batch.
            max_delay_s: seconds that the first tile of a batch waits for others.
            on_batch: called with the number of tiles in each batch, before padding.
        """
        self._runtime = runtime
        self._max_batch_tiles = max_batch_tiles
        self._max_delay_s = max_delay_s
        self._on_batch = on_batch
        self._sizes = batch_sizes(max_batch_tiles)
        for size in self._sizes:
            runtime.infer(np.zeros((size, side_px, side_px, 3), np.uint8))
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._collecting = threading.Lock()  # a batch is filled before the next begins
        self._counting = threading.Lock()
        self._n_tiles = 0
        self._threads = [
            threading.Thread(target=self._run, name=f"micro-batches-{i}", daemon=True)
            for i in range(runtime.n_workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def name(self) -> str:
        """The wrapped runtime's name."""
        return self._runtime.name

    @property
    def device(self) -> str:
        """The wrapped runtime's device."""
        return self._runtime.device

    @property
    def precision(self) -> str:
        """The wrapped runtime's precision."""
        return self._runtime.precision

    @property
    def computes_in_caller(self) -> bool:
        """False: batches run on their own threads."""
        return False

    @property
    def n_warm_ups(self) -> int:
        """One: every batch size has already run."""
        return 1

    @property
    def n_workers(self) -> int:
        """Enough calls for one batch per thread and one that is being collected."""
        return (1 + self._runtime.n_workers) * self._max_batch_tiles

    def infer(
        self,
        tiles: NDArray[np.uint8],
        *,
        alone: bool = False,  # noqa: ARG002 - batches run on their own threads
    ) -> ModelOutputs:
        """See `Runtime.infer`; blocks until the batch with these tiles has run."""
        answer: Future[ModelOutputs] = Future()
        self._count(len(tiles))
        self._waiting.put((tiles, answer))
        return answer.result()

    def close(self) -> None:
        """Answer the tiles that wait, then stop."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        self._runtime.close()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            with self._collecting:
                batch, is_last = self._collect()
            if batch:
                self._answer(batch)

    def _collect(self) -> tuple[list[_Waiting], bool]:
        """Collect a batch; the flag says whether this thread must end after it."""
        first = self._waiting.get()
        if first is None:
            return [], True
        batch, n_tiles = [first], len(first[0])
        deadline = time.monotonic() + self._max_delay_s
        while n_tiles < self._share():
            try:
                following = self._waiting.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if following is None:
                return batch, True
            batch.append(following)
            n_tiles += len(following[0])
        return batch, False

    def _share(self) -> int:
        """Number of tiles that currently fill a batch."""
        share = -(-self._n_tiles // len(self._threads))  # rounded up
        return min(self._max_batch_tiles, share)

    def _count(self, n_tiles: int) -> None:
        with self._counting:
            self._n_tiles += n_tiles

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        tiles = np.concatenate([tiles for tiles, _ in batch])
        self._on_batch(len(tiles))
        try:
            outputs = self._runtime.infer(self._padded(tiles))
        except BaseException as error:  # noqa: BLE001 - the waiting callers raise it
            self._count(-len(tiles))
            for _, answer in batch:
                answer.set_exception(error)
            return
        self._count(-len(tiles))  # first, because callers send their next tiles at once
        start = 0
        for own, answer in batch:
            end = start + len(own)
            answer.set_result(
                ModelOutputs(
                    logits=outputs.logits[start:end],
                    embedding=outputs.embedding[start:end],
                    cam=outputs.cam[start:end],
                    n_batch_tiles=len(tiles),
                )
            )
            start = end

    def _padded(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = next((size for size in self._sizes if size >= len(tiles)), len(tiles))
        padding = np.zeros((size - len(tiles), *tiles.shape[1:]), np.uint8)
        return np.concatenate([tiles, padding]) if len(padding) else tiles


def batch_sizes(max_batch_tiles: int) -> tuple[int, ...]:
    """List the powers of two below the maximum, and the maximum.

    >>> batch_sizes(12)
    (1, 2, 4, 8, 12)
    """
    powers = [2**i for i in range(max_batch_tiles.bit_length()) if 2**i < max_batch_tiles]
    return (*powers, max_batch_tiles)
