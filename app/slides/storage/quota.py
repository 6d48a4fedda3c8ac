"""Bytes that slides may use on disk: asked before a byte is accepted."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from app.core.slide_store_errors import DiskFullError, SlidesFullError

_MEASURED_FOR_S: Final = 2.0
"""A measurement of the disk is used for this long, so that many small uploads do not each walk
through all folders."""
_MIN_FREE_BYTES: Final = 16 * 1024**2
"""Left on the disk for records, checkpoints and the queue."""


class Quota:
    """What may still be stored; any thread may ask."""

    def __init__(
        self, root: Path, limit_bytes: int, measure: Callable[[], tuple[int, int]]
    ) -> None:
        """Count what `measure` finds.

        Args:
            root: folder on the disk in question; it need not exist yet.
            limit_bytes: what may be used in all.
            measure: returns the bytes that are used or promised, and those of them that are only
                promised, because they have not arrived yet.
        """
        self._root = root
        self._limit_bytes = limit_bytes
        self._measure = measure
        self._lock = threading.Lock()
        self._used = self._awaited = 0
        self._measured_at = -_MEASURED_FOR_S

    def reserve(self, n_bytes: int) -> None:
        """Ask for room. The caller creates at once what `measure` counts.

        Raises:
            SlidesFullError: the quota does not have it.
            DiskFullError: the disk does not have it.
        """
        with self._lock:
            self._require(n_bytes)
            self._used += n_bytes
            self._awaited += n_bytes

    def require(self, n_bytes: int) -> None:
        """Ask whether there is room, without taking it.

        Raises:
            SlidesFullError: the quota does not have it.
            DiskFullError: the disk does not have it.
        """
        with self._lock:
            self._require(n_bytes)

    def _require(self, n_bytes: int) -> None:
        self._refresh()
        if self._used + n_bytes > self._limit_bytes:
            raise SlidesFullError(n_bytes, self._limit_bytes)
        free = shutil.disk_usage(self._root).free - self._awaited - _MIN_FREE_BYTES
        if n_bytes > free:
            raise DiskFullError

    def left_bytes(self) -> int:
        """What may still be stored, on the disk and by the quota; at least 0."""
        with self._lock:
            self._refresh()
            free = shutil.disk_usage(self._root).free - self._awaited - _MIN_FREE_BYTES
            return max(0, min(self._limit_bytes - self._used, free))

    def forget(self) -> None:
        """Measure anew at the next question: something was deleted."""
        with self._lock:
            self._measured_at = -_MEASURED_FOR_S

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._measured_at >= _MEASURED_FOR_S:
            self._used, self._awaited = self._measure()
            self._measured_at = now
