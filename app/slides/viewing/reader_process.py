"""One process that reads slides, as the service sees it; `reading_process` is its program."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from app.core.slide_store_errors import SlideReaderError
from app.telemetry.logs import LOGGER_NAME

TIMEOUT_S: Final = 120.0
"""A thumbnail of a slide without a pyramid reads the whole slide."""
_PIECE_BYTES: Final = 64 * 1024

_logger = logging.getLogger(LOGGER_NAME)


class ReaderDiedError(SlideReaderError):
    """The process died before it answered."""


class ReaderProcess:
    """One process; one thread at a time uses it."""

    def __init__(self, setup: dict[str, Any]) -> None:
        """Start it; `setup` has its limits."""
        # Keys and passwords of the service are no business of a process that parses files.
        environ = {name: value for name, value in os.environ.items() if "OSTEO_" not in name}
        self._process = subprocess.Popen(  # the service's own module
            [sys.executable, "-m", "app.slides.viewing.reading_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            cwd=Path(__file__).resolve().parents[3],
        )
        self.used_at = time.monotonic()
        self._send(setup)

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Send a request and wait for the answer.

        Raises:
            ReaderDiedError: the process died.
            SlideReaderError: it took too long.
        """
        self._send(request)
        until = time.monotonic() + TIMEOUT_S
        received = bytearray()
        while b"\n" not in received:
            received += self._receive(until)
        line, _, rest = bytes(received).partition(b"\n")
        head: dict[str, Any] = json.loads(line)
        content = bytearray(rest)
        while len(content) < head["n_bytes"]:
            content += self._receive(until)
        self.used_at = time.monotonic()
        return head, bytes(content)

    def kill(self) -> None:
        """Kill the process; the thread that uses it notices, and ends it."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process and wait for its end."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()

    def _send(self, document: dict[str, Any]) -> None:
        pipe = self._process.stdin
        if pipe is None:
            raise SlideReaderError("has no input")
        try:
            pipe.write(json.dumps(document).encode() + b"\n")
            pipe.flush()
        except OSError:
            raise self._death() from None

    def _receive(self, until: float) -> bytes:
        pipe = self._process.stdout
        if pipe is None:
            raise SlideReaderError("has no output")
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            if not selector.select(max(0.0, until - time.monotonic())):
                _logger.error("slide_reader_timeout", extra={"limit_s": TIMEOUT_S})
                raise SlideReaderError(f"took longer than {TIMEOUT_S:g} s")
        piece = os.read(pipe.fileno(), _PIECE_BYTES)
        if not piece:
            raise self._death()
        return piece

    def _death(self) -> ReaderDiedError:
        code = self._process.wait()
        _logger.error("slide_reader_died", extra={"exit_code": code})
        return ReaderDiedError("crashed")
