"""Decode uploads within the settings' time and memory, as many at once as there are cores."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.core.tile import Decoded, decode_structure, read_tile_structure
from app.inference.decode_processes import DecodeProcesses
from app.runtime.cores import usable_cores
from app.settings import Settings


class Decoder:
    """Decodes predictable files in the calling thread and other files in processes."""

    def __init__(self, settings: Settings) -> None:
        """Start no process yet.

        Args:
            settings: limits of a tile, and of the time and memory to decode it.
        """
        self.limits = settings.tile_limits
        # Decoding is CPU-bound: more threads than cores would only evict each other's caches.
        n_cores = usable_cores()
        self._slots = threading.BoundedSemaphore(n_cores)
        self._processes = DecodeProcesses(n_cores, settings.max_decode_s, settings.max_decode_bytes)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for one of as many places as there are cores; call `decode` in its block."""
        with self._slots:
            yield

    def decode(self, tile_bytes: bytes, side_px: int) -> Decoded:
        """Decode like `app.core.tile.decode_tile_and_header`.

        Raises:
            TileError: the tile cannot be decoded or exceeds a limit.
            DeadlineError: the machine is too busy to decode it.
            MemoryError: the service itself has too little memory.
        """
        structure = read_tile_structure(tile_bytes, self.limits)
        if structure.is_predictable:
            return decode_structure(structure, self.limits, side_px)
        return self._processes.decode(tile_bytes, self.limits, side_px)

    def close(self) -> None:
        """End the processes, also those that are at work."""
        self._processes.close()
