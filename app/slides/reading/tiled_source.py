"""A slide whose own tiles are decoded here, at a reduced scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from app.core.slide_limits import SlideLimits
from app.slides.facts import SlideFacts
from app.slides.reading.levels import level_for_overview, level_for_square
from app.slides.reading.tile_cache import CachedLevel
from app.slides.reading.tiled_level import TiledLevel
from app.slides.reading.tiled_pixels import read_tiled_overview, read_tiled_square


class TiledSource:
    """See `SlideSource`."""

    def __init__(
        self,
        levels: Sequence[TiledLevel],
        facts: SlideFacts,
        limits: SlideLimits,
        close: Callable[[], None],
    ) -> None:
        """Take over opened levels.

        Args:
            levels: finest first.
            facts: of the slide.
            limits: on the pixels of a read.
            close: closes what the levels read from.
        """
        self._levels, self._facts, self._limits, self._close = levels, facts, limits, close
        self._cached = [CachedLevel(level) for level in levels]

    @property
    def facts(self) -> SlideFacts:
        """What is known of the slide."""
        return self._facts

    def read_square(
        self, location_level0: tuple[int, int], side_level0: float, side_px: int
    ) -> NDArray[np.uint8]:
        """Read a square as the model sees it; see `SlideSource`."""
        downsamples = [level.downsample for level in self._levels]
        level = self._cached[level_for_square(downsamples, side_level0, side_px)]
        return read_tiled_square(
            level, location_level0, side_level0, side_px, self._limits.max_read_pixels
        )

    def read_overview(self, max_px: int) -> NDArray[np.uint8]:
        """Read the whole slide, reduced; see `SlideSource`."""
        level = level_for_overview([level.size for level in self._levels], max_px)
        return read_tiled_overview(self._levels[level], max_px)

    def close(self) -> None:
        """Close the file."""
        self._close()
