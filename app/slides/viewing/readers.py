"""Processes that read slides for the service: few, with a time limit, replaced when they die."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from app.core import slide_errors, slide_store_errors
from app.core.errors import OsteoError
from app.core.manifest import InputContract
from app.core.slide_limits import SlideLimits
from app.core.slide_store_errors import ReadersBusyError, SlideReaderError
from app.inference.results import Answer
from app.slides.facts import SlideFacts
from app.slides.viewing.reader_process import ReaderDiedError, ReaderProcess
from app.telemetry.logs import LOGGER_NAME

N_READERS: Final = 2
MAX_WAITING: Final = 64
"""Requests that wait for a reader; a viewer asks for about a dozen tiles at once."""
_IDLE_S: Final = 300.0

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


class Inspection(Answer):
    """What was found out about a slide.

    Attributes:
        facts: what the file says.
        columns, rows: of the grid of the model's tiles.
        n_tissue: tiles with tissue; None if that takes seconds to find out.
    """

    facts: SlideFacts
    columns: int
    rows: int
    n_tissue: int | None = None


class Readers:
    """A few reading processes; they start when they are needed and end when they are not."""

    def __init__(self, limits: SlideLimits, memory_bytes: int) -> None:
        """Start none yet.

        Args:
            limits: on what is opened.
            memory_bytes: that one process may use.
        """
        self._setup = {"limits": dataclasses.asdict(limits), "memory_bytes": memory_bytes}
        self._idle: list[ReaderProcess] = []
        self._busy: set[ReaderProcess] = set()
        # Threads of their own: minutes of a large thumbnail must not hold up other requests.
        self._threads = ThreadPoolExecutor(N_READERS, "slide reader")
        self._lock = threading.Lock()
        self._is_closed = False
        self._places = asyncio.Semaphore(N_READERS)
        self._n_waiting = 0

    async def inspect(self, slide: SlideFile, contract: InputContract) -> Inspection:
        """Inspect a slide, in a process that has opened no other.

        Raises:
            SlideError: it is refused, or has no tiles of this scale, or too many.
            ExtraMissingError: the packages that read slides are not installed.
            SlideReaderError: the process died, or took too long.
            ReadersBusyError: too many requests wait.
        """
        document, _ = await self._ask(slide, "inspect", contract=contract.model_dump(mode="json"))
        return Inspection.model_validate(document)

    async def thumbnail(self, slide: SlideFile) -> bytes:
        """A picture of the whole slide: a JPEG of at most 1024 px a side; raises as `inspect`."""
        return (await self._ask(slide, "thumbnail"))[1]

    async def zoom_tile(self, slide: SlideFile, level: int, column: int, row: int) -> bytes:
        """A tile of the deep zoom pyramid: a JPEG.

        Raises:
            ZoomTileNotFoundError: there is no such tile.
            SlideError: it cannot be read; further errors as `inspect`.
        """
        return (await self._ask(slide, "zoom_tile", tile=[level, column, row]))[1]

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
        self, slide: SlideFile, what: str, **details: object
    ) -> tuple[dict[str, Any], bytes]:
        if self._n_waiting >= MAX_WAITING:
            raise ReadersBusyError(MAX_WAITING)
        request = {
            "what": what,
            "path": str(slide.path),
            "mpp": slide.mpp,
            "allow_companions": slide.allow_companions,
            "stamp": slide.stamp,
            **details,
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
        process = self._take_idle() if request["what"] != "inspect" else None
        if process is not None:
            try:
                return self._ask_process(process, request)
            except ReaderDiedError:
                pass  # it may have died before this request
        return self._ask_process(ReaderProcess(self._setup), request)

    def _take_idle(self) -> ReaderProcess | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _ask_process(
        self, process: ReaderProcess, request: dict[str, Any]
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
