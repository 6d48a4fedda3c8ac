"""Bounded admission: how many tiles and bytes may be in the house, and when to come back."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from app.core.errors import QueueFullError, UploadsFullError

# Weight of the newest tile in the running mean: about the last 50 tiles decide.
_SMOOTHING: Final = 0.04
_FIRST_GUESS_TILE_S: Final = 0.02
MAX_SPREAD_S: Final = 10.0
"""Clients are told to come back one after the other, over so long at most: those who come back
earlier than told, and are refused again, would put off the others without end."""
SLOW_UPLOAD_S: Final = 1.0
"""A tile of 250 kB takes this long at 2 Mbit/s; hospital networks are faster.

It is a bound, not a wall: whoever opens as many uploads a second as there are places keeps others
out, which only a limit on connections in front of the service can prevent.
"""


class Admission:
    """A counter of tiles that refuses at once when full; used from the event loop only."""

    def __init__(
        self,
        limit_tiles: int,
        on_change: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty.

        Args:
            limit_tiles: tiles waiting or worked on in all.
            on_change: called with the number of tiles in flight whenever it changes.
            clock: seconds, never going back.
        """
        self._limit_tiles = limit_tiles
        self._on_change = on_change
        self._n_tiles = 0
        self._n_expected = 0
        self._tile_s = _FIRST_GUESS_TILE_S
        self._n_workers = 1
        self._clock = clock
        self._last_return_at = -math.inf

    @property
    def n_tiles(self) -> int:
        """Tiles waiting or worked on now."""
        return self._n_tiles

    def expect(self) -> Callable[[], None]:
        """Count a request whose head was read as one tile to come.

        So a burst of clients is refused now rather than let in to be turned away at the queue once
        their bodies were read for nothing. After `SLOW_UPLOAD_S` it no longer counts: slow
        uploads, meant or not, keep nobody out.

        Returns:
            A function that ends this, for when the tile is admitted or given up; any time after
            the first it does nothing.

        Raises:
            QueueFullError: there is no room now; it says when there should be.
        """
        self._require_room(1, self._n_expected)
        self._n_expected += 1
        counts = True

        def end() -> None:
            nonlocal counts
            timer.cancel()
            if counts:
                counts = False
                self._n_expected -= 1

        timer = asyncio.get_running_loop().call_later(SLOW_UPLOAD_S, end)
        return end

    @contextmanager
    def admit(self, n_tiles: int) -> Iterator[Callable[[], None]]:
        """Hold room for `n_tiles` in a `with` block.

        Yields:
            A function that gives the room of one tile back early, called once a finished tile;
            what is left of the room comes back at the end of the block.

        Raises:
            QueueFullError: there is no room; it says when there should be.
        """
        self._require_room(n_tiles)
        self._change(n_tiles)
        held = n_tiles

        def finish_one() -> None:
            nonlocal held
            held -= 1
            self._change(-1)

        try:
            yield finish_one
        finally:
            self._change(-held)

    def observe_tile(self, work_s: float, n_workers: int) -> None:
        """Learn how long one of `n_workers` is busy with one tile."""
        self._tile_s += _SMOOTHING * (work_s - self._tile_s)
        self._n_workers = n_workers

    def _require_room(self, n_tiles: int, n_expected: int = 0) -> None:
        n_ahead = self._n_tiles + n_expected
        if n_ahead + n_tiles > self._limit_tiles:
            raise QueueFullError(self._limit_tiles, self._seconds_until_room(n_tiles, n_ahead))

    def _seconds_until_room(self, n_tiles: int, n_ahead: int) -> int:
        """Half of what waits is worked off by then, and whoever was refused before has had a turn.

        All that are refused in one second would otherwise come back in one second, most of them to
        be refused again.
        """
        now, tile_s = self._clock(), self._tile_s / self._n_workers
        soonest = now + n_ahead * tile_s / 2
        next_turn = max(self._last_return_at, soonest) + n_tiles * tile_s
        self._last_return_at = min(next_turn, soonest + MAX_SPREAD_S)
        return max(1, math.ceil(self._last_return_at - now))

    def _change(self, n_tiles: int) -> None:
        self._n_tiles += n_tiles
        self._on_change(self._n_tiles)


class UploadBudget:
    """The bytes that all uploads together may hold; used from the event loop only."""

    def __init__(self, limit_bytes: int, on_change: Callable[[int], None]) -> None:
        """Start empty.

        Args:
            limit_bytes: in all requests together.
            on_change: called with the bytes held whenever they change.
        """
        self._limit_bytes = limit_bytes
        self._on_change = on_change
        self._n_bytes = 0

    @contextmanager
    def account(self) -> Iterator[Callable[[int], None]]:
        """A function that takes bytes from the budget; they come back at the end of the block.

        The function raises `UploadsFullError` where the budget does not hold that many.
        """
        taken = 0

        def take(n_bytes: int) -> None:
            nonlocal taken
            if self._n_bytes + n_bytes > self._limit_bytes:
                raise UploadsFullError(self._limit_bytes)
            taken += n_bytes
            self._change(n_bytes)

        try:
            yield take
        finally:
            self._change(-taken)

    def _change(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        self._on_change(self._n_bytes)
