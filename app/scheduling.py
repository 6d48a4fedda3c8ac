"""Bounded admission: how many tiles may be in the house, and when to come back if it is full."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from app.core.errors import QueueFullError

# Weight of the newest tile in the running mean: about the last 50 tiles decide.
_SMOOTHING: Final = 0.04
_FIRST_GUESS_TILE_S: Final = 0.02


class Admission:
    """A counter of tiles that refuses at once when full; used from the event loop only."""

    def __init__(self, limit_tiles: int, n_workers: int, on_change: Callable[[int], None]) -> None:
        """Start empty.

        Args:
            limit_tiles: tiles waiting or worked on in all.
            n_workers: tiles worked on at the same time.
            on_change: called with the number of tiles in flight whenever it changes.
        """
        self._limit_tiles = limit_tiles
        self._n_workers = n_workers
        self._on_change = on_change
        self._n_tiles = 0
        self._tile_s = _FIRST_GUESS_TILE_S

    @property
    def n_tiles(self) -> int:
        """Tiles waiting or worked on now."""
        return self._n_tiles

    @contextmanager
    def admit(self, n_tiles: int) -> Iterator[None]:
        """Hold room for `n_tiles` for the length of a `with` block.

        Raises:
            QueueFullError: there is no room; it says when there should be.
        """
        if self._n_tiles + n_tiles > self._limit_tiles:
            raise QueueFullError(self._limit_tiles, self._seconds_until_room())
        self._change(n_tiles)
        try:
            yield
        finally:
            self._change(-n_tiles)

    def observe_tile(self, work_s: float) -> None:
        """Learn how long a worker is busy with one tile."""
        self._tile_s += _SMOOTHING * (work_s - self._tile_s)

    def _seconds_until_room(self) -> int:
        """Time to work off half of what waits, so that a client that returns finds room."""
        waiting_s = self._n_tiles * self._tile_s / self._n_workers
        return max(1, math.ceil(waiting_s / 2))

    def _change(self, n_tiles: int) -> None:
        self._n_tiles += n_tiles
        self._on_change(self._n_tiles)
