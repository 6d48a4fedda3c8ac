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
    """Gathers tiles until a batch is full, nobody else can join, or its first has waited enough.

    Nobody else can join once a batch holds its share of all tiles that are here: a single client
    never waits, and the threads of a CPU get batches of the same size.

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
            runtime: runs the batches, `runtime.n_workers` at a time.
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
        self._gathering = threading.Lock()  # one batch fills up before the next begins
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
        """Batches run on threads of their own."""
        return False

    @property
    def n_warm_ups(self) -> int:
        """One: the batch sizes were run at the start."""
        return 1

    @property
    def n_workers(self) -> int:
        """A batch for each thread of the runtime, and one that gathers."""
        return (1 + self._runtime.n_workers) * self._max_batch_tiles

    def infer(
        self,
        tiles: NDArray[np.uint8],
        *,
        alone: bool = False,  # noqa: ARG002 - batches have threads of their own
    ) -> ModelOutputs:
        """See `Runtime.infer`; waits until the batch of these tiles has run."""
        answer: Future[ModelOutputs] = Future()
        self._count(len(tiles))
        self._waiting.put((tiles, answer))
        return answer.result()

    def close(self) -> None:
        """Run what waits, then stop."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        self._runtime.close()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            with self._gathering:
                batch, is_last = self._gather()
            if batch:
                self._answer(batch)

    def _gather(self) -> tuple[list[_Waiting], bool]:
        """Tiles that travel together, and whether this thread has been told to end."""
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
        """Tiles that fill a batch now."""
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
        except BaseException as error:  # noqa: BLE001 - whoever waits for the answer raises it
            self._count(-len(tiles))
            for _, answer in batch:
                answer.set_exception(error)
            return
        self._count(-len(tiles))  # before the answers, which bring the next tiles
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
