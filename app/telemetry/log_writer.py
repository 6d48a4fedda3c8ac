"""Write log lines so that a reader of the log that stops delays nothing else.

A line is written where it is logged if that cannot block, and by a thread otherwise.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Final

MAX_WAITING_BYTES: Final = 4 * 1024**2
"""Some ten thousand lines. A pipe itself holds 64 KiB."""
_FLUSH_S: Final = 2.0
"""How long the end of the process waits for the reader."""


class LogWriter(logging.Handler):
    """Writes records to a file descriptor: at once if that cannot block, else from a thread.

    If the buffer is full, lines are dropped and counted. When the reader is back, a line
    `log_lines_dropped` says how many.

    Attributes:
        n_dropped: lines dropped so far.
    """

    def __init__(self, descriptor: int) -> None:
        """Start the thread.

        Args:
            descriptor: written to directly, because a thread that waits in a buffered stream would
                keep the interpreter from ending.
        """
        super().__init__()
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._n_waiting_bytes = 0
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._is_writing = self._is_closed = False
        self.n_dropped = self._n_reported = 0
        # Not the handler's own lock: `emit` must not wait for what the thread does.
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record to the lines that wait, or drop it; never waits for the reader."""
        try:
            line = self._encode(record)
        except Exception:  # noqa: BLE001 - what every handler of the standard library does
            self.handleError(record)
            return
        with self._changed:
            if self._is_closed or self._n_waiting_bytes + len(line) > MAX_WAITING_BYTES:
                self.n_dropped += 1
                return
            if not (self._lines or self._is_writing) and self._write_at_once(line):
                return
            self._lines.append(line)
            self._n_waiting_bytes += len(line)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all lines are written, at most two seconds."""
        deadline = time.monotonic() + _FLUSH_S
        with self._changed:
            while (self._lines or self._is_writing) and time.monotonic() < deadline:
                self._changed.wait(deadline - time.monotonic())

    def close(self) -> None:
        """Write what waits if the reader takes it, and end the thread."""
        self.flush()
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        super().close()

    def _encode(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode(errors="backslashreplace") + b"\n"

    def _write_at_once(self, line: bytes) -> bool:
        """Write a line if that cannot block: waking the thread for each costs throughput.

        A pipe that polls as writable has room for `PIPE_BUF` bytes (POSIX).
        """
        if len(line) > select.PIPE_BUF or not self._poll.poll(0):
            return False
        try:
            return os.write(self._descriptor, line) == len(line)
        except OSError:  # the thread counts it
            return False

    def _write_lines(self) -> None:
        while (line := self._next_line()) is not None:
            try:
                self._write(line)
                if (n_lines := self._n_to_report()) > 0:
                    self._write(self._encode(_dropped(n_lines)))
                    self._n_reported += n_lines
            except OSError:  # the reader has closed its end, or the disk is full
                with self._changed:
                    self.n_dropped += 1

    def _next_line(self) -> bytes | None:
        """Wait for a line; None after `close`."""
        with self._changed:
            self._is_writing = False
            self._changed.notify_all()
            while not (self._lines or self._is_closed):
                self._changed.wait()
            if self._is_closed:
                return None
            self._is_writing = True
            line = self._lines.popleft()
            self._n_waiting_bytes -= len(line)
            return line

    def _n_to_report(self) -> int:
        """Lines dropped and not yet reported; 0 while the reader is still behind."""
        with self._changed:
            is_behind = self._n_waiting_bytes > MAX_WAITING_BYTES // 2
            return 0 if is_behind else self.n_dropped - self._n_reported

    def _write(self, line: bytes) -> None:
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:  # someone who shares the pipe made it non-blocking
                with suppress(InterruptedError):
                    select.select([], [self._descriptor], [])


def _dropped(n_lines: int) -> logging.LogRecord:
    record = logging.LogRecord("osteo", logging.WARNING, "", 0, "log_lines_dropped", None, None)
    record.n_lines = n_lines
    return record
