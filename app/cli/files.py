"""Classify files and folders in this process: the same path as an upload, without a server."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.core.errors import InferenceError, TileError, TileTooLargeError
from app.inference.classifier import Classifier
from app.inference.results import TileResult

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})
"""What is taken from a folder; a file that is named itself is always tried."""

# Tiles read ahead of each worker: enough to keep it busy, few enough to bound memory.
_READ_AHEAD: Final = 4


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """One file: its result, or why it has none."""

    path: Path
    result: TileResult | None
    error: str | None


def find_tiles(paths: Iterable[Path]) -> list[Path]:
    """Files named directly, and those with an image suffix in folders, sorted within each.

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
    """Classify files on all workers of the runtime; outcomes come in the order of `files`."""
    n_workers = classifier.runtime.n_workers
    waiting: deque[Future[FileOutcome]] = deque()
    with ThreadPoolExecutor(n_workers, thread_name_prefix="tile") as pool:
        for file in files:
            waiting.append(pool.submit(_classify_file, classifier, file))
            if len(waiting) > _READ_AHEAD * n_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _classify_file(classifier: Classifier, file: Path) -> FileOutcome:
    try:
        # A folder may hold whole slides of gigabytes, which must not be read to be refused.
        if file.stat().st_size > classifier.limits.max_bytes:
            raise TileTooLargeError(classifier.limits.max_bytes)
        return FileOutcome(file, classifier.classify(file.read_bytes()), None)
    except (TileError, InferenceError) as error:
        return FileOutcome(file, None, str(error))
    except OSError as error:
        return FileOutcome(file, None, f"The file cannot be read: {error.strerror}.")
