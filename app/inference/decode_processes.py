"""Decode files of unpredictable cost in processes that the kernel stops.

A thread cannot be ended, and what libtiff or libwebp does with a hostile file is theirs to decide.
So such files are decoded elsewhere: a limit on the address space bounds memory, a timer of
processor time ends the process inside C code, and a dead process is replaced.
"""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import Final

from app.core.errors import DeadlineError, NotReadyError
from app.core.tile import Decoded, TileLimits
from app.core.tile_errors import DecodeBudgetError
from app.inference.decode_process import DecodeProcess

_CLOSED: Final = "the service is shutting down"


class DecodeProcesses:
    """A few processes, started when first needed; `decode` may be called by several threads."""

    def __init__(self, n_processes: int, max_decode_s: float, max_decode_bytes: int) -> None:
        """Start nothing yet.

        Args:
            n_processes: how many tiles are decoded at once; further callers wait.
            max_decode_s: processor time for one tile, in seconds.
            max_decode_bytes: memory for one tile beyond what an idle process takes.
        """
        self._max_decode_s = max_decode_s
        self._max_decode_bytes = max_decode_bytes
        # The process that was idle last is used first, so that no more are started than needed.
        self._idle: queue.LifoQueue[DecodeProcess | None] = queue.LifoQueue()
        for _ in range(n_processes):
            self._idle.put(None)
        self._running: set[DecodeProcess] = set()
        self._is_closed = False
        self._lock = threading.Lock()

    def decode(self, tile_bytes: bytes, limits: TileLimits, side_px: int) -> Decoded:
        """`decode_tile_and_header` in another process.

        Raises:
            TileError: what it raises there.
            DecodeBudgetError: it took more than its time or memory, or the decoder crashed.
            DeadlineError: the process was given too little processor time.
            MemoryError: no process can be started.
            NotReadyError: `close` was called.
        """
        process = self._idle.get()
        try:
            if process is None:
                process = self._start()
            return process.decode(tile_bytes, limits, side_px)
        except (DeadlineError, DecodeBudgetError):
            if self._is_closed:
                raise NotReadyError(_CLOSED) from None
            raise
        finally:
            self._put_back(process)

    def close(self) -> None:
        """Kill every process, also those that are at work."""
        with self._lock:
            self._is_closed = True
            for process in self._running:
                process.kill()  # the threads that wait for them close them
        idle: list[DecodeProcess | None] = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        for process_or_none in idle:
            self._put_back(process_or_none)

    def _start(self) -> DecodeProcess:
        with self._lock:
            if self._is_closed:
                raise NotReadyError(_CLOSED)
            process = DecodeProcess(self._max_decode_s, self._max_decode_bytes)
            self._running.add(process)
            return process

    def _put_back(self, process: DecodeProcess | None) -> None:
        if process is not None and (process.is_spent or self._is_closed):
            with self._lock:
                self._running.discard(process)
            process.close()
            process = None
        self._idle.put(process)
