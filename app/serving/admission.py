"""Admission: limits on tiles in flight, their work and upload bytes, and when to retry."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from app.core.errors import QueueFullError, UploadsFullError

MAX_SPREAD_S: Final = 10.0
"""Rejected clients are spread over at most this long. Clients that retry too early get a new turn
each time, which would otherwise delay all others without limit."""
SLOW_UPLOAD_S: Final = 1.0
"""A reserved place expires after this long: a tile of 250 kB takes it at 2 Mbit/s, and hospital
networks are faster.

A client that starts as many uploads a second as there are places can still fill the queue, which
only a connection limit in front of the service prevents.
"""


class Admission:
    """Counts tiles in flight and the seconds of work in them, and rejects at once when full.

    The seconds are those that the whole worker pool needs, so they are also the time that a new
    tile waits. Used from the event loop only.
    """

    def __init__(
        self,
        limit_tiles: int,
        limit_s: float,
        on_change: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty.

        Args:
            limit_tiles: most tiles in flight, waiting ones included.
            limit_s: with more seconds of work than this in flight, nothing is admitted. A single
                request may exceed it, or it would never be answered.
            on_change: called with the number of tiles in flight when it changes.
            clock: seconds, monotonic.
        """
        self._limit_tiles = limit_tiles
        self._limit_s = limit_s
        self._on_change = on_change
        self._n_tiles = 0
        self._n_reserved = 0
        self._work_s = 0.0
        self._reserved_s = 0.0
        self._clock = clock
        self._last_return_at = -math.inf

    @property
    def n_tiles(self) -> int:
        """Tiles in flight, waiting ones included."""
        return self._n_tiles

    def reserve(self, work_s: float) -> Callable[[], None]:
        """Reserve a place for the tile of a request whose body has not arrived yet.

        A burst is thus rejected on its headers, rather than at the queue after its bodies were
        read for nothing. A reservation expires after `SLOW_UPLOAD_S`, so that slow uploads,
        malicious or not, block nobody.

        Args:
            work_s: the work in an average tile, as nothing is known of this one.

        Returns:
            A function that releases the place, to be called when the tile is admitted or the
            request ends; further calls do nothing.

        Raises:
            QueueFullError: there is no place; it carries when to retry.
        """
        self._require_room(1, work_s, self._n_reserved, self._reserved_s)
        self._n_reserved += 1
        self._reserved_s += work_s
        is_reserved = True

        def release() -> None:
            nonlocal is_reserved
            timer.cancel()
            if is_reserved:
                is_reserved = False
                self._n_reserved -= 1
                self._reserved_s = max(0.0, self._reserved_s - work_s) if self._n_reserved else 0.0

        timer = asyncio.get_running_loop().call_later(SLOW_UPLOAD_S, release)
        return release

    @contextmanager
    def admit(self, n_tiles: int, work_s: float) -> Iterator[Callable[[], None]]:
        """Hold places for `n_tiles` with `work_s` of work in all during a `with` block.

        Yields:
            A function that releases the place of one finished tile early; the remaining places are
            released at the end of the block.

        Raises:
            QueueFullError: there are not enough places, or too much work is in flight; it carries
                when to retry.
        """
        self._require_room(n_tiles, work_s)
        self._change(n_tiles, work_s)
        n_held, tile_s = n_tiles, work_s / max(1, n_tiles)

        def finish_one() -> None:
            nonlocal n_held
            if n_held:  # a tile may outlive its request, which has then released all places
                n_held -= 1
                self._change(-1, -tile_s)

        try:
            yield finish_one
        finally:
            self._change(-n_held, -n_held * tile_s)
            n_held = 0

    def _require_room(
        self, n_tiles: int, work_s: float, n_reserved: int = 0, reserved_s: float = 0.0
    ) -> None:
        n_ahead, ahead_s = self._n_tiles + n_reserved, self._work_s + reserved_s
        if n_ahead + n_tiles > self._limit_tiles or ahead_s > self._limit_s:
            retry_after_s = self._retry_after_s(work_s, ahead_s)
            raise QueueFullError(self._limit_tiles, self._limit_s, retry_after_s)

    def _retry_after_s(self, work_s: float, ahead_s: float) -> int:
        """When half of the queue is done and the clients rejected earlier have had their turns.

        Without turns, all clients rejected in one second would come back in one second, and most
        would be rejected again.
        """
        now = self._clock()
        soonest = now + ahead_s / 2
        next_turn = max(self._last_return_at, soonest) + work_s
        self._last_return_at = min(next_turn, soonest + MAX_SPREAD_S)
        return max(1, math.ceil(self._last_return_at - now))

    def _change(self, n_tiles: int, work_s: float) -> None:
        self._n_tiles += n_tiles
        # Rounding errors of many sums must not remain in an empty queue.
        self._work_s = max(0.0, self._work_s + work_s) if self._n_tiles else 0.0
        self._on_change(self._n_tiles)


class UploadBudget:
    """Limits the bytes that all uploads together hold; used from the event loop only."""

    def __init__(self, limit_bytes: int, on_change: Callable[[int], None]) -> None:
        """Start empty.

        Args:
            limit_bytes: for all requests together.
            on_change: called with the bytes held when they change.
        """
        self._limit_bytes = limit_bytes
        self._on_change = on_change
        self._n_bytes = 0

    @contextmanager
    def track(self) -> Iterator[Callable[[int], None]]:
        """Count the bytes of one upload; they are released at the end of the `with` block.

        Yields:
            A function that takes bytes from the budget, and raises `UploadsFullError` if there are
            not enough left.
        """
        n_taken = 0

        def take(n_bytes: int) -> None:
            nonlocal n_taken
            if self._n_bytes + n_bytes > self._limit_bytes:
                raise UploadsFullError(self._limit_bytes)
            n_taken += n_bytes
            self._change(n_bytes)

        try:
            yield take
        finally:
            self._change(-n_taken)

    def _change(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        self._on_change(self._n_bytes)
