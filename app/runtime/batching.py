"""Micro-batching: single tiles from many threads become batches for a runtime that likes them.

Wraps any runtime and is one itself, so nothing else knows that batches exist.
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
    """Gathers tiles until a batch is full or its first tile has waited long enough.

    Batches are padded to a few sizes (powers of two), each run once at the start: TensorFlow
    traces, and a GPU tunes, once for each shape it meets, and no request should pay for that.
    """

    def __init__(
        self,
        runtime: Runtime,
        side_px: int,
        max_batch_tiles: int,
        max_delay_s: float,
        on_batch: Callable[[int], None],
    ) -> None:
        """Warm the batch sizes up and start gathering.

        Args:
            runtime: runs the batches, one at a time.
            side_px: side of a tile.
            max_batch_tiles: counted in tiles, not in requests.
            max_delay_s: longest wait of the first tile of a batch for others.
            on_batch: told the number of tiles of each batch, before padding.
        """
        self._runtime = runtime
        self._max_batch_tiles = max_batch_tiles
        self._max_delay_s = max_delay_s
        self._on_batch = on_batch
        self._sizes = batch_sizes(max_batch_tiles)
        for size in self._sizes:
            runtime.infer(np.zeros((size, side_px, side_px, 3), np.uint8))
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="micro-batches", daemon=True)
        self._thread.start()

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
    def n_workers(self) -> int:
        """One batch that runs and one that gathers."""
        return 2 * self._max_batch_tiles

    def infer(self, tiles: NDArray[np.uint8]) -> ModelOutputs:
        """See `Runtime.infer`; waits until the batch of these tiles has run."""
        answer: Future[ModelOutputs] = Future()
        self._waiting.put((tiles, answer))
        return answer.result()

    def close(self) -> None:
        """Run what waits, then stop."""
        self._waiting.put(None)
        self._thread.join()
        self._runtime.close()

    def _run(self) -> None:
        while not self._is_closed:
            batch = self._gather()
            if batch:
                self._answer(batch)

    def _gather(self) -> list[_Waiting]:
        first = self._waiting.get()
        if first is None:
            self._is_closed = True
            return []
        batch, n_tiles = [first], len(first[0])
        deadline = time.monotonic() + self._max_delay_s
        while n_tiles < self._max_batch_tiles:
            try:
                following = self._waiting.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if following is None:
                self._is_closed = True
                break
            batch.append(following)
            n_tiles += len(following[0])
        return batch

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        tiles = np.concatenate([tiles for tiles, _ in batch])
        self._on_batch(len(tiles))
        try:
            outputs = self._runtime.infer(self._padded(tiles))
        except BaseException as error:  # noqa: BLE001 - whoever waits for the answer raises it
            for _, answer in batch:
                answer.set_exception(error)
            return
        start = 0
        for own, answer in batch:
            end = start + len(own)
            answer.set_result(
                ModelOutputs(
                    logits=outputs.logits[start:end],
                    embedding=outputs.embedding[start:end],
                    cam=outputs.cam[start:end],
                )
            )
            start = end

    def _padded(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = next((size for size in self._sizes if size >= len(tiles)), len(tiles))
        padding = np.zeros((size - len(tiles), *tiles.shape[1:]), np.uint8)
        return np.concatenate([tiles, padding]) if len(padding) else tiles


def batch_sizes(max_batch_tiles: int) -> tuple[int, ...]:
    """The powers of two below the largest batch, and the largest batch.

    >>> batch_sizes(12)
    (1, 2, 4, 8, 12)
    """
    powers = [2**i for i in range(max_batch_tiles.bit_length()) if 2**i < max_batch_tiles]
    return (*powers, max_batch_tiles)
