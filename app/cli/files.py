"""Work on files in this process, on all workers of the runtime, in the order they were found."""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Generic, TypeVar

from app.cli.search import Found, reason_of
from app.core.errors import (
    ExplanationUnavailableError,
    InferenceError,
    TileError,
    UnavailableError,
)
from app.core.tile_errors import TileTooLargeError
from app.inference.classifier import Classifier
from app.inference.results import TileResult

Answer = TypeVar("Answer")

# Tiles queued per worker: enough to keep it busy, few enough to limit memory.
_READ_AHEAD: Final = 4


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Answer]):
    """The result of one file, or the error that prevented it."""

    path: Path
    result: Answer | None
    error: str | None = None


FileOutcome = Outcome[TileResult]


class NotAFileError(OSError):
    """A pipe, a socket or a device: reading it could wait for ever."""


def answer_files(
    classifier: Classifier, found: Sequence[Found], answer: Callable[[bytes], Answer]
) -> Generator[Outcome[Answer], None, None]:
    """Answer files on all workers of the runtime, and yield outcomes in the order of `found`.

    Close the generator before the classifier: it waits for the tiles on which workers still work.

    Args:
        classifier: its workers and limits.
        found: files, and what cannot be read.
        answer: answers the bytes of one tile; called from several threads.
    """
    n_workers = classifier.runtime.n_workers
    waiting: deque[Future[Outcome[Answer]]] = deque()
    work = partial(_answer_file, classifier.limits.max_bytes, answer)
    with ThreadPoolExecutor(n_workers, thread_name_prefix="tile") as pool:
        try:
            for file in found:
                waiting.append(pool.submit(work, file))
                if len(waiting) > _READ_AHEAD * n_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def read_tile(file: Path, max_bytes: int) -> bytes:
    """Read a file unless it is larger than a tile may be, such as a whole slide of gigabytes.

    Raises:
        OSError: the file cannot be read.
        NotAFileError: it is a pipe, a socket or a device; nothing was opened.
        TileTooLargeError: the file is larger than `max_bytes`.
    """
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise NotAFileError(0, "not a regular file")
    if status.st_size > max_bytes:
        raise TileTooLargeError(max_bytes)
    with file.open("rb") as stream:
        tile_bytes = stream.read(max_bytes + 1)  # the file may have grown
    if len(tile_bytes) > max_bytes:
        raise TileTooLargeError(max_bytes)
    return tile_bytes


def _answer_file(max_bytes: int, answer: Callable[[bytes], Answer], file: Found) -> Outcome[Answer]:
    path = file.path
    if file.error is not None:
        return Outcome(path, None, file.error)
    try:
        return Outcome(path, answer(read_tile(path, max_bytes)))
    except (TileError, InferenceError, UnavailableError, ExplanationUnavailableError) as error:
        return Outcome(path, None, str(error))
    except MemoryError:
        return Outcome(path, None, "There is too little memory to decode the tile.")
    except OSError as error:
        return Outcome(path, None, f"The file cannot be read: {reason_of(error)}.")
