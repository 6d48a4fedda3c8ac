"""Decode files of unpredictable cost in processes that the kernel stops.

A thread cannot be ended, and what libtiff or libwebp does with a hostile file is theirs to decide.
So such files are decoded elsewhere: a limit on the address space bounds memory, a timer of
processor time ends the process inside C code, and a dead process is replaced.
"""

from __future__ import annotations

import os
import pickle
import queue
import resource
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from app.core.errors import DecodeBudgetError, TileError
from app.core.tile import Decoded, TileLimits, decode_tile_and_header

_WALL_S_PER_CPU_S: Final = 5.0
"""A process that shares its core with four others is given its time all the same."""
_NICENESS: Final = 10
_STATM: Final = Path("/proc/self/statm")


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
        self._idle: queue.LifoQueue[_DecodeProcess | None] = queue.LifoQueue()
        for _ in range(n_processes):
            self._idle.put(None)
        self._running: set[_DecodeProcess] = set()
        self._is_closed = False
        self._lock = threading.Lock()

    def decode(self, tile_bytes: bytes, limits: TileLimits, side_px: int) -> Decoded:
        """`decode_tile_and_header` in another process.

        Raises:
            TileError: what it raises there.
            DecodeBudgetError: it took more than its time or memory, or the decoder crashed.
        """
        process = self._idle.get()
        try:
            if process is None:
                process = self._start()
            return process.decode(tile_bytes, limits, side_px)
        finally:
            if process is not None and not process.is_alive:
                self._running.discard(process)
                process = None
            self._idle.put(process)

    def close(self) -> None:
        """Kill every process, also those that are at work."""
        with self._lock:
            self._is_closed = True
            for process in self._running:
                process.kill()

    def _start(self) -> _DecodeProcess:
        with self._lock:
            if self._is_closed:
                raise DecodeBudgetError("the service is shutting down")
            process = _DecodeProcess(self._max_decode_s, self._max_decode_bytes)
            self._running.add(process)
            return process


class _DecodeProcess:
    """One process and the socket to it; used by one thread at a time."""

    def __init__(self, max_decode_s: float, max_decode_bytes: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            program = f"from {__name__} import serve; serve()"
            arguments = (theirs.fileno(), max_decode_s, max_decode_bytes)
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, fixed arguments
                [sys.executable, "-c", program, *map(str, arguments)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libtiff writes its warnings there
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._connection = Connection(ours.detach())
        self._max_decode_s = max_decode_s
        self._wall_s = max_decode_s * _WALL_S_PER_CPU_S
        self.is_alive = True

    def decode(self, tile_bytes: bytes, limits: TileLimits, side_px: int) -> Decoded:
        try:
            self._connection.send((limits, side_px))
            self._connection.send_bytes(tile_bytes)
            if not self._connection.poll(self._wall_s):
                raise TimeoutError
            answer = self._connection.recv()
        except (OSError, EOFError) as error:
            self.kill()
            raise DecodeBudgetError(f"it takes more than {self._max_decode_s:g} s") from error
        if isinstance(answer, TileError):
            raise answer
        tile, header = answer
        return tile, header

    def kill(self) -> None:
        self.is_alive = False
        self._process.kill()
        self._process.wait()
        self._connection.close()


def serve() -> None:
    """Decode what comes over a socket, until its other end closes; the program of a process."""
    descriptor, max_decode_s, max_decode_bytes = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which drains
    with suppress(OSError):  # a sandbox may forbid it
        os.nice(_NICENESS)
    connection = Connection(int(descriptor))
    with suppress(EOFError, OSError):
        while True:
            limits, side_px = connection.recv()
            tile_bytes = connection.recv_bytes()
            _limit_memory(int(max_decode_bytes))
            signal.setitimer(signal.ITIMER_PROF, float(max_decode_s))  # its signal kills
            answer = _decode(tile_bytes, limits, side_px, int(max_decode_bytes))
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send_bytes(pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL))


def _decode(
    tile_bytes: bytes, limits: TileLimits, side_px: int, max_decode_bytes: int
) -> Decoded | TileError:
    try:
        return decode_tile_and_header(tile_bytes, limits, side_px)
    except TileError as error:
        return error
    except MemoryError:
        return DecodeBudgetError(f"it takes more than {max_decode_bytes} bytes of memory")


def _limit_memory(max_decode_bytes: int) -> None:
    """Let the address space grow by so much from here; what earlier tiles left counts as there."""
    if sys.platform != "linux":
        return
    n_pages = int(_STATM.read_text().split()[0])
    limit_bytes = n_pages * resource.getpagesize() + max_decode_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, resource.RLIM_INFINITY))
