"""Which level of the pyramid is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from app.slides.source import MIN_TILE_LEVEL_PX

_OVERVIEW_SHARE: Final = 0.75
"""Minimum share of the requested size. A level that is slightly smaller is used, because the next
one may have 16 times as many pixels."""


def level_for_square(downsamples: Sequence[float], side_level0: float, side_px: int) -> int:
    """The coarsest level on which a square keeps enough pixels; level 0 if there is none.

    Args:
        downsamples: level-0 pixels per pixel of each level, finest first.
        side_level0: side of the square in pixels of level 0.
        side_px: side to which the square will be reduced.
    """
    least = max(MIN_TILE_LEVEL_PX, 2 * side_px)
    enough = [level for level, step in enumerate(downsamples) if side_level0 / step >= least]
    return max(enough, default=0)


def level_for_overview(sizes: Sequence[tuple[int, int]], max_px: int) -> int:
    """The coarsest level that is large enough for an overview; level 0 if there is none.

    Args:
        sizes: width and height of each level, finest first.
        max_px: asked longer side.
    """
    enough = [level for level, size in enumerate(sizes) if max(size) >= _OVERVIEW_SHARE * max_px]
    return max(enough, default=0)
