"""The process that works on one slide, as its worker sees it; `slide_program` is what it runs."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Final

from app.jobs.slide_messages import SLIDE_MESSAGE, Ended, Progressed, SlideOrder
from app.settings import PREFIX

PROGRAM: Final = "from app.jobs.slide_program import main; main()"
_MAX_TRACEBACK_BYTES: Final = 16 * 1024
_READ_BYTES: Final = 64 * 1024
_STOP_WITHIN_S: Final = 2.0
_ENVIRONMENT: Final = {
    # NumPy would start a thread for each core, and none of them has anything to do.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


class SlideProcess:
    """A process and the pipes to it; used by one thread, which must live as long as the process.

    Attributes:
        ended: the last message of the process; None if it sent none.
    """

    def __init__(self, order: SlideOrder, max_bytes: int, program: str = PROGRAM) -> None:
        """Start it.

        Args:
            order: what it is to do.
            max_bytes: limit of its memory.
            program: Python code that it runs.

        Raises:
            OSError: the system has no memory or no process left.
        """
        self.ended: Ended | None = None
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, fixed arguments
            # Without -P, a folder `app` in the current folder would be imported.
            [sys.executable, "-P", "-c", program, str(max_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # tracebacks only; see `slide_program`
            env=_environment(),
            process_group=0,  # Ctrl-C is for the worker, which stops it
        )
        self._input = _require(self._process.stdin)
        self._output = _require(self._process.stdout)
        self._errors = _require(self._process.stderr)
        self._selector = selectors.DefaultSelector()
        for stream in (self._output, self._errors):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ)
        self._unread = b""
        self._traceback = b""
        with suppress(BrokenPipeError):  # it has ended, which `read` tells
            self._input.write(f"{order.model_dump_json()}\n".encode())
            self._input.flush()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it may send more messages."""
        return bool(self._selector.get_map())

    @property
    def exit_status(self) -> int:
        """Its exit status once it has ended, negative for the number of a signal."""
        return self._process.wait()

    @property
    def traceback(self) -> str:
        """What it wrote to standard error, the end of it."""
        return self._traceback.decode(errors="replace")

    def read(self, timeout_s: float) -> Progressed | None:
        """Wait until the process sends something or ends.

        Returns:
            The newest progress, if there is any.
        """
        progressed = None
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            content = os.read(key.fd, _READ_BYTES)
            if not content:
                self._selector.unregister(key.fileobj)
            elif key.fileobj is self._errors:
                self._traceback = (self._traceback + content)[-_MAX_TRACEBACK_BYTES:]
            else:
                *lines, self._unread = (self._unread + content).split(b"\n")
                for message in map(SLIDE_MESSAGE.validate_json, lines):
                    if isinstance(message, Ended):
                        self.ended = message
                    else:
                        progressed = message
        return progressed

    def stop(self) -> None:
        """Ask it to end at the next tile, which keeps its rows; `close` follows and kills it."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            return
        while self.is_running:  # its pipes are closed, so this does not wait
            self.read(_STOP_WITHIN_S)

    def close(self) -> None:
        """Kill it if it still runs, and free what belongs to it."""
        self._process.kill()
        self._process.wait()
        self._selector.close()
        for stream in (self._input, self._output, self._errors):
            with suppress(OSError):  # what could not be sent is still in its buffer
                stream.close()


def _require(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:  # never: all three are pipes
        raise OSError("the process has no pipe")
    return stream


def _environment() -> dict[str, str]:
    """This process's environment without its settings, among which are secrets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    path: Sequence[str] = [folder for folder in sys.path if folder]
    return {**kept, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(path)}
