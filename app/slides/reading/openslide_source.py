"""A slide whose pixels OpenSlide reads: any format that is not tiled JPEG."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.slide_errors import CorruptSlideError, SlideTooLargeError
from app.core.slide_limits import SlideLimits
from app.slides.facts import SlideFacts
from app.slides.reading.levels import level_for_overview, level_for_square
from app.slides.reading.openslide_handles import OpenSlideHandles
from app.slides.reading.overview import DAMAGED_COLOUR, Overview
from app.slides.reading.square import resize_square

_BAND_PIXELS: Final = 4 * 1024**2
"""Read at once; with the copies that OpenSlide and Pillow make, 12 bytes each."""
_BLOCK_PX: Final = 2048
"""Width of the parts of an overview."""
_STRIP_PX: Final = 256
"""Height of the strips of an overview; most files have tiles of 256 px or a multiple of it."""

Pixels = NDArray[np.uint8]


class OpenSlideSource:
    """See `SlideSource`."""

    def __init__(
        self,
        handles: OpenSlideHandles,
        facts: SlideFacts,
        limits: SlideLimits,
        close: Callable[[], None],
    ) -> None:
        """Take over opened handles.

        Args:
            handles: of OpenSlide.
            facts: of the slide.
            limits: on the pixels of a read.
            close: closes the handles and what else is open.
        """
        self._handles, self._facts, self._limits, self._close = handles, facts, limits, close

    @property
    def facts(self) -> SlideFacts:
        """What is known of the slide."""
        return self._facts

    def read_square(
        self, location_level0: tuple[int, int], side_level0: float, side_px: int
    ) -> Pixels:
        """Read a square as the model sees it, on whole pixels of a level; see `SlideSource`.

        Between pixels, OpenSlide takes several times as long.
        """
        downsamples = self._handles.downsamples
        level = level_for_square(downsamples, side_level0, side_px)
        side = max(1, round(side_level0 / downsamples[level]))
        if side * side > self._limits.max_read_pixels:
            raise SlideTooLargeError(
                side * side, self._limits.max_read_pixels, "pixels in one read"
            )
        x, y = (round(position / downsamples[level]) for position in location_level0)
        # As Pillow's `reducing_gap` of 2 does it, but a band at a time.
        factor = max(1, int(side / side_px / 2)) if side * side > _BAND_PIXELS else 1
        n_rows = max(factor, _BAND_PIXELS // side // factor * factor)
        bands = [
            _reduced(self._read(level, (x, top), (side, min(n_rows, y + side - top))), factor)
            for top in range(y, y + side, n_rows)
        ]
        return resize_square(np.concatenate(bands), (0.0, 0.0), side / factor, side_px)

    def read_overview(self, max_px: int) -> Pixels:
        """Read the whole slide, reduced; see `SlideSource`.

        Parts that cannot be decoded get the colour of tissue, as in `read_tiled_overview`.
        """
        level = level_for_overview(self._handles.level_sizes, max_px)
        overview = Overview(self._handles.level_sizes[level], max_px)
        for strip in self._strips(level):
            overview.add(strip)
        return overview.pixels()

    def close(self) -> None:
        """Close the file."""
        self._close()

    def _strips(self, level: int) -> Iterator[Pixels]:
        width, height = self._handles.level_sizes[level]
        n_read, damage = 0, None
        for top in range(0, height, _STRIP_PX):
            n_rows = min(_STRIP_PX, height - top)
            strip = np.empty((n_rows, width, 3), np.uint8)
            # From the right: a part that cannot be read is put back in pieces of a tile's width.
            parts = [(left, _BLOCK_PX) for left in range(0, width, _BLOCK_PX)]
            while parts:
                left, n_columns = parts.pop()
                size = min(n_columns, width - left), n_rows
                try:
                    strip[:, left : left + n_columns] = self._read(level, (left, top), size)
                    n_read += 1
                except CorruptSlideError as error:
                    damage = error
                    strip[:, left : left + n_columns] = DAMAGED_COLOUR
                    if n_columns > _STRIP_PX:
                        pieces = range(left, left + size[0], _STRIP_PX)
                        parts += [(piece, _STRIP_PX) for piece in pieces]
            yield strip
        if damage is not None and n_read == 0:
            raise damage

    def _read(self, level: int, corner: tuple[int, int], size: tuple[int, int]) -> Pixels:
        """Read a region whose corner is given in pixels of its level."""
        downsample = self._handles.downsamples[level]
        x, y = (round(position * downsample) for position in corner)
        return self._handles.read((x, y), level, size)


def _reduced(pixels: Pixels, factor: int) -> Pixels:
    return pixels if factor == 1 else np.asarray(Image.fromarray(pixels).reduce(factor))
