"""Classify files and folders in this process, with the code that classifies uploads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.core.errors import InferenceError, TileError, UnavailableError
from app.core.tile_errors import TileTooLargeError
from app.inference.classifier import Classifier
from app.inference.results import TileResult

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})
"""Suffixes of tiles in a folder. A file that is named on the command line may have any suffix."""

# Tiles queued per worker: enough to keep it busy, few enough to limit memory.
_READ_AHEAD: Final = 4


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """The result of one file, or the error that prevented it."""

    path: Path
    result: TileResult | None
    error: str | None


def find_tiles(paths: Iterable[Path]) -> list[Path]:
    """List the named files, and the files with an image suffix in the named folders, sorted.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            found += sorted(file for file in inside if file.is_file())
        elif path.exists():
            found.append(path)
        else:
            raise FileNotFoundError(path)
    return found


def classify_files(classifier: Classifier, files: Sequence[Path]) -> Iterator[FileOutcome]:
    """Classify files on all workers of the runtime, and yield outcomes in the order of `files`."""
    n_workers = classifier.runtime.n_workers
    waiting: deque[Future[FileOutcome]] = deque()
    with ThreadPoolExecutor(n_workers, thread_name_prefix="tile") as pool:
        for file in files:
            waiting.append(pool.submit(_classify_file, classifier, file))
            if len(waiting) > _READ_AHEAD * n_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def read_tile(file: Path, max_bytes: int) -> bytes:
    """Read a file unless it is larger than a tile may be, such as a whole slide of gigabytes.

    Raises:
        OSError: the file cannot be read.
        TileTooLargeError: the file is larger than `max_bytes`.
    """
    if file.stat().st_size > max_bytes:
        raise TileTooLargeError(max_bytes)
    return file.read_bytes()


def _classify_file(classifier: Classifier, file: Path) -> FileOutcome:
    try:
        tile_bytes = read_tile(file, classifier.limits.max_bytes)
        return FileOutcome(file, classifier.classify(tile_bytes), None)
    except (TileError, InferenceError, UnavailableError) as error:
        return FileOutcome(file, None, str(error))
    except MemoryError:
        return FileOutcome(file, None, "There is too little memory to decode the tile.")
    except OSError as error:
        return FileOutcome(file, None, f"The file cannot be read: {error.strerror}.")
