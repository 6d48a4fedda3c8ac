"""How fast a slide is worked on, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.jobs.records import JobProgress


class Pace:
    """Turns what the process tells into the progress of the job.

    Attributes:
        progress: of the job.
    """

    def __init__(
        self,
        earlier: JobProgress,
        count_tiles: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin an attempt.

        Args:
            earlier: what the attempts before this one have reached.
            count_tiles: is told how many tiles more are done.
            clock: seconds.
        """
        self._count_tiles, self._clock = count_tiles, clock
        self._first: tuple[float, int] | None = None
        self.progress = JobProgress(stage="opening", n_done=earlier.n_done, n_tiles=earlier.n_tiles)

    def note(self, stage: str, n_done: int, n_tiles: int | None) -> None:
        """Take in what the process tells; see `app.slides.run.Progress`."""
        if n_tiles is None:  # the process does not know yet what is done already
            n_done, n_tiles = self.progress.n_done, self.progress.n_tiles
        rate, left_s = self.progress.tiles_per_s, None
        if stage == "classifying":
            rate, left_s = self._measure(n_done, n_tiles)
        self.progress = JobProgress(
            stage=stage, n_done=n_done, n_tiles=n_tiles, tiles_per_s=rate, remaining_s=left_s
        )

    def _measure(self, n_done: int, n_tiles: int | None) -> tuple[float | None, float | None]:
        """Tiles per second since the first message, and seconds left; None if not known yet.

        The first message counts the tiles that earlier attempts have done.
        """
        now = self._clock()
        if self._first is None:
            self._first = (now, n_done)
            return None, None
        self._count_tiles(max(0, n_done - self.progress.n_done))
        began, n_before = self._first
        if n_done <= n_before or now <= began:
            return None, None
        rate = (n_done - n_before) / (now - began)
        left_s = None if n_tiles is None else round((n_tiles - n_done) / rate, 1)
        return round(rate, 2), left_s
