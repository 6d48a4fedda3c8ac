"""One process that decodes tiles, as the service sees it; `decode_program` is what it runs."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Final

from app.core.errors import DeadlineError, TileError
from app.core.tile import Decoded, TileLimits
from app.core.tile_errors import DecodeBudgetError
from app.settings import PREFIX
from app.telemetry.logs import LOGGER_NAME

_logger = logging.getLogger(LOGGER_NAME)

_WALL_S_PER_CPU_S: Final = 5.0
"""A process that shares its core with four others is given its time all the same. If that is not
enough, the machine is to blame and not the tile."""
_START_S: Final = 30.0
"""Waited for a process to start, which takes some tenths of a second. Its time is no tile's."""
_MAX_TRACEBACK_BYTES: Final = 16 * 1024
_PROGRAM: Final = "from app.inference.decode_program import serve; serve()"
_ENVIRONMENT: Final = {
    # NumPy would start a thread for each core, and none of them has anything to do.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # glibc gives memory of large pictures back at once, instead of keeping it after a few of them.
    "MALLOC_MMAP_THRESHOLD_": str(8 * 1024**2),
    "MALLOC_TRIM_THRESHOLD_": str(16 * 1024**2),
}


class DecodeProcess:
    """A process and the socket to it; used by one thread at a time, except for `kill`.

    Attributes:
        is_spent: whether it ended or should end; close it and start another.
    """

    def __init__(self, max_decode_s: float, max_decode_bytes: int) -> None:
        """Start it; it is ready some tenths of a second later.

        Args:
            max_decode_s: processor time for one tile, in seconds.
            max_decode_bytes: memory for one tile beyond what an idle process takes.

        Raises:
            MemoryError: the system has no memory or no process left.
        """
        ours, theirs = socket.socketpair()
        with theirs, ours:
            arguments = (theirs.fileno(), max_decode_s, max_decode_bytes)
            try:
                self._process = subprocess.Popen(  # noqa: S603 - this interpreter, fixed arguments
                    [sys.executable, "-c", _PROGRAM, *map(str, arguments)],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,  # tracebacks only; see `decode_program`
                    env=_environment(),
                    process_group=0,  # Ctrl-C is for the service, which drains
                )
            except OSError as error:
                raise MemoryError("no process can be started to decode a tile") from error
            self._socket = ours.dup()
        self._socket.settimeout(_START_S)
        self._has_started = False
        self._file = self._socket.makefile("rwb")
        self._max_decode_s = max_decode_s
        self.is_spent = False
        self._is_killed = False

    def decode(self, tile_bytes: bytes, limits: TileLimits, side_px: int) -> Decoded:
        """`decode_tile_and_header` in the process.

        Raises:
            TileError: what it raises there.
            DecodeBudgetError: it took more than its time or memory, or the decoder crashed.
            DeadlineError: the process was given too little processor time.
            MemoryError: the process did not start.
        """
        try:
            if not self._has_started:
                self._await_start()
            pickle.dump((tile_bytes, limits, side_px), self._file, pickle.HIGHEST_PROTOCOL)
            self._file.flush()
            answer, self.is_spent = pickle.load(self._file)  # noqa: S301 - from our own program
        except TimeoutError:
            self.is_spent = True
            raise DeadlineError(self._max_decode_s * _WALL_S_PER_CPU_S) from None
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            self.is_spent = True
            raise DecodeBudgetError(self._reason_of_end()) from error
        if isinstance(answer, TileError):
            raise answer
        tile, header = answer
        return tile, header

    def kill(self) -> None:
        """End the process; another thread may be in `decode`, which then raises."""
        self._is_killed = True
        self._process.kill()

    def close(self) -> None:
        """End the process and free what belongs to it."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):  # what could not be sent is still in its buffer
            self._file.close()
        self._socket.close()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _await_start(self) -> None:
        try:
            pickle.load(self._file)  # noqa: S301 - from our own program
        except (OSError, EOFError) as error:
            self.is_spent = True
            self._process.kill()  # it may still be starting
            self._log_end("decode_process_not_started")
            raise MemoryError("a process to decode a tile did not start") from error
        self._has_started = True
        self._socket.settimeout(self._max_decode_s * _WALL_S_PER_CPU_S)

    def _reason_of_end(self) -> str:
        if self._process.wait() == -signal.SIGPROF:
            return f"it takes more than {self._max_decode_s:g} s"
        if not self._is_killed:
            self._log_end("decoder_crashed")
        return "its decoder crashed"

    def _log_end(self, event: str) -> None:
        """Log how the process ended, and the traceback that it left, if any."""
        status = self._process.wait()
        stderr = self._process.stderr
        left = os.read(stderr.fileno(), _MAX_TRACEBACK_BYTES) if stderr is not None else b""
        details = {"exit_status": status, "traceback": left.decode(errors="replace")}
        _logger.error(event, extra=details)


def _environment() -> dict[str, str]:
    """This process's environment without its settings, among which are secrets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    path = os.pathsep.join(filter(None, sys.path))
    return {**kept, **_ENVIRONMENT, "PYTHONPATH": path}
