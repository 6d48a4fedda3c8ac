"""Processes that read slides for the service: few, with a time limit, replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import selectors
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from app.core import slide_errors, slide_store_errors
from app.core.errors import OsteoError
from app.core.slide_limits import SlideLimits
from app.core.slide_store_errors import ReadersBusyError, SlideReaderError
from app.slides.facts import SlideFacts
from app.telemetry.logs import LOGGER_NAME

N_READERS: Final = 2
MAX_WAITING: Final = 64
"""Requests that wait for a reader; a viewer asks for about a dozen tiles at once."""
_TIMEOUT_S: Final = 120.0
"""A thumbnail of a slide without a pyramid reads the whole slide."""
_IDLE_S: Final = 300.0
_PIECE_BYTES: Final = 64 * 1024

Value = TypeVar("Value")

_logger = logging.getLogger(LOGGER_NAME)


@dataclasses.dataclass(frozen=True, slots=True)
class SlideFile:
    """A slide to read.

    Attributes:
        path: of the file or folder.
        mpp: micrometres per pixel, if the caller states it.
        allow_companions: whether a file may name others that belong to it; not for uploads.
        stamp: changes if the file does.
    """

    path: Path
    mpp: float | None
    allow_companions: bool
    stamp: str = ""


class Readers:
    """A few reading processes; they start when they are needed and end when they are not."""

    def __init__(self, limits: SlideLimits, memory_bytes: int) -> None:
        """Start none yet.

        Args:
            limits: on what is opened.
            memory_bytes: that one process may use.
        """
        self._setup = {"limits": dataclasses.asdict(limits), "memory_bytes": memory_bytes}
        self._idle: list[_ReaderProcess] = []
        self._busy: set[_ReaderProcess] = set()
        # Threads of their own: minutes of a large thumbnail must not hold up other requests.
        self._threads = ThreadPoolExecutor(N_READERS, "slide reader")
        self._lock = threading.Lock()
        self._is_closed = False
        self._places = asyncio.Semaphore(N_READERS)
        self._n_waiting = 0

    async def facts(self, slide: SlideFile) -> SlideFacts:
        """Inspect a slide, in a process that has opened no other.

        Raises:
            SlideError: it is refused.
            ExtraMissingError: the packages that read slides are not installed.
            SlideReaderError: the process died, or took too long.
            ReadersBusyError: too many requests wait.
        """
        document, _ = await self._ask(slide, "facts")
        return SlideFacts.model_validate(document)

    async def thumbnail(self, slide: SlideFile) -> bytes:
        """A picture of the whole slide: a JPEG of at most 1024 px a side; raises as `facts`."""
        return (await self._ask(slide, "thumbnail"))[1]

    async def zoom_tile(self, slide: SlideFile, level: int, column: int, row: int) -> bytes:
        """A tile of the deep zoom pyramid: a JPEG.

        Raises:
            ZoomTileNotFoundError: there is no such tile.
            SlideError: it cannot be read; further errors as `facts`.
        """
        return (await self._ask(slide, "zoom_tile", [level, column, row]))[1]

    def close(self) -> None:
        """End all processes; who waits for one gets a `SlideReaderError`."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            for process in self._busy:
                process.kill()
        for process in idle:
            process.end()
        self._threads.shutdown()

    def end_idle(self) -> None:
        """End the processes that nobody has needed for a while."""
        with self._lock:
            before = time.monotonic() - _IDLE_S
            old = [process for process in self._idle if process.used_at < before]
            self._idle = [process for process in self._idle if process not in old]
        for process in old:
            process.end()

    async def _ask(
        self, slide: SlideFile, what: str, tile: list[int] | None = None
    ) -> tuple[dict[str, Any], bytes]:
        if self._n_waiting >= MAX_WAITING:
            raise ReadersBusyError(MAX_WAITING)
        request = {
            "what": what,
            "path": str(slide.path),
            "mpp": slide.mpp,
            "allow_companions": slide.allow_companions,
            "stamp": slide.stamp,
            "tile": tile,
        }
        self._n_waiting += 1
        try:
            async with self._places:
                loop = asyncio.get_running_loop()
                asking = loop.run_in_executor(self._threads, self._ask_one, request)
                return await _to_its_end(asking)
        finally:
            self._n_waiting -= 1

    def _ask_one(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        process = self._take_idle() if request["what"] != "facts" else None
        if process is not None:
            try:
                return self._ask_process(process, request)
            except _DiedError:
                pass  # it may have died before this request
        return self._ask_process(_ReaderProcess(self._setup), request)

    def _take_idle(self) -> _ReaderProcess | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _ask_process(
        self, process: _ReaderProcess, request: dict[str, Any]
    ) -> tuple[dict[str, Any], bytes]:
        with self._lock:
            self._busy.add(process)
            if self._is_closed:
                process.kill()
        is_kept = False
        try:
            head, content = process.ask(request)
            is_kept = True
        finally:
            with self._lock:
                self._busy.discard(process)
                is_kept = is_kept and not self._is_closed and len(self._idle) < N_READERS
                if is_kept:
                    self._idle.append(process)
            if not is_kept:
                process.end()
        return _judged(head), content


class _DiedError(SlideReaderError):
    """The process died before it answered."""


class _ReaderProcess:
    """One process; one thread at a time uses it."""

    def __init__(self, setup: dict[str, Any]) -> None:
        # Keys and passwords of the service are no business of a process that parses files.
        environ = {name: value for name, value in os.environ.items() if "OSTEO_" not in name}
        self._process = subprocess.Popen(  # the service's own module
            [sys.executable, "-m", "app.slides.reading_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            cwd=Path(__file__).resolve().parents[2],
        )
        self.used_at = time.monotonic()
        self._send(setup)

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Send a request and wait for the answer.

        Raises:
            _DiedError: the process died.
            SlideReaderError: it took too long.
        """
        self._send(request)
        until = time.monotonic() + _TIMEOUT_S
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
                _logger.error("slide_reader_timeout", extra={"limit_s": _TIMEOUT_S})
                raise SlideReaderError(f"took longer than {_TIMEOUT_S:g} s")
        piece = os.read(pipe.fileno(), _PIECE_BYTES)
        if not piece:
            raise self._death()
        return piece

    def _death(self) -> _DiedError:
        code = self._process.wait()
        _logger.error("slide_reader_died", extra={"exit_code": code})
        return _DiedError("died")


async def _to_its_end(asking: asyncio.Future[Value]) -> Value:
    """Await an answer. If the client leaves, its reader is still busy, so its place is kept."""
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        await asyncio.wait((asking,))
        raise


def _judged(head: dict[str, Any]) -> dict[str, Any]:
    """The document of an answer.

    Raises:
        OsteoError: the answer is an error.
        SlideReaderError: a library failed.
    """
    if "failure" in head:
        _logger.error("slide_reader_failed", extra={"error": head["failure"]})
        raise SlideReaderError(f"failed with {head['failure']}")
    if "code" in head:
        raise _error(head["code"], head["text"], head["data"])
    document: dict[str, Any] = head["document"]
    return document


def _error(code: str, text: str, data: dict[str, Any]) -> OsteoError:
    """An error as the process raised it; nothing is unpickled from there."""
    for module in (slide_errors, slide_store_errors):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, OsteoError) and kind.code == code:
                error = kind.__new__(kind, text)
                error.args = (text,)
                vars(error).update(data)
                return error
    return SlideReaderError(f"failed with {code}")
