"""Limits on what is opened as a slide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SlideLimits:
    """Limits that are checked before a pixel is decoded.

    Attributes:
        max_pixels: width times height of level 0.
        max_levels: levels of the pyramid.
        max_tiles: tiles of the grid.
        max_encoded_tile_bytes: size of one encoded tile of the file.
        max_read_pixels: pixels that one read may decode.
        min_mpp, max_mpp: micrometres per pixel of level 0; outside of it a stated resolution is
            that of a screen or a printer (72 dpi are 353 um), not of a scanner.
    """

    max_pixels: int = 16 * 10**9
    max_levels: int = 32
    max_tiles: int = 50_000
    max_encoded_tile_bytes: int = 32 * 1024**2
    max_read_pixels: int = 64 * 10**6
    min_mpp: float = 0.1
    max_mpp: float = 2.0


DEFAULT_SLIDE_LIMITS: Final = SlideLimits()
