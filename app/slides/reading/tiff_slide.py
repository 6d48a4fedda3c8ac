"""A slide in a tiled TIFF: which images are its levels, and whether their tiles are read here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.core.formats import tiff_tags as t
from app.core.slide_limits import SlideLimits
from app.slides.reading.jpeg_tile import JpegTileDecoder
from app.slides.reading.tiff_checks import require_sound_levels
from app.slides.reading.tiff_directories import DESCRIPTION, Directory, read_directories
from app.slides.reading.tiff_level import TiffJpegLevel, is_jpeg_level

_APERIO, _GENERIC = "aperio", "generic-tiff"
_PLAIN_LAYOUTS: Final = (_APERIO, _GENERIC)
"""The levels of other vendors may overlap, be padded, or be assembled from several images."""
_OME: Final = "<OME"
_MAX_RATIO: Final = 1.02


@dataclass(frozen=True, slots=True)
class TiffSlide:
    """The directories of a slide.

    Attributes:
        directories: of the chain.
        below: those below the first one, in which OME-TIFF keeps its levels.
        ome_xml: the OME-XML of the first directory; empty if it has none.
    """

    directories: Sequence[Directory]
    below: Sequence[Directory]
    ome_xml: str

    def jpeg_levels(
        self, file: int, vendor: str, sizes: Sequence[tuple[int, int]], limits: SlideLimits
    ) -> list[TiffJpegLevel] | None:
        """The levels, if all of them can be read here.

        Args:
            file: a descriptor, which stays open while the levels are used.
            vendor: as OpenSlide names it.
            sizes: of the levels that OpenSlide found, finest first.
            limits: on the tiles.

        Returns:
            At least OpenSlide's levels, finest first; None if it should read them.
        """
        if vendor not in _PLAIN_LAYOUTS:
            return None
        tiled = [directory for directory in self.directories if directory.is_tiled]
        by_size = {directory.size: directory for directory in reversed(tiled)}
        chosen = [by_size.get(size) for size in sizes]
        levels = [level for level in chosen if level is not None and is_jpeg_level(level)]
        if len(levels) < len(sizes):
            return None
        if vendor == _APERIO and any(_has_gaps(level) for level in levels):
            return None  # OpenSlide fills gaps of a lower level from the one above it
        if self.ome_xml and len(levels) == 1:
            levels += sorted(self._levels_below(), key=lambda level: level.size, reverse=True)
        decoder, (width, height) = JpegTileDecoder(), sizes[0]
        return [
            TiffJpegLevel(
                file,
                level,
                (width / level.size[0] + height / level.size[1]) / 2,
                decoder,
                limits.max_encoded_tile_bytes,
            )
            for level in levels
        ]

    def _levels_below(self) -> list[Directory]:
        """Those below the first directory that show the same in fewer pixels."""
        base = self.directories[0]
        return [
            level
            for level in self.below
            if level.is_tiled
            and is_jpeg_level(level)
            and level.size < base.size
            and _is_same_shape(level.size, base.size)
        ]


def read_tiff_slide(file: int, n_bytes: int, limits: SlideLimits) -> TiffSlide:
    """Read and check the directories of a slide.

    Args:
        file: a descriptor.
        n_bytes: size of the file.
        limits: on sizes.

    Raises:
        SlideError: see `read_directories` and `require_sound_levels`.
    """
    directories, below = read_directories(file)
    require_sound_levels([*directories, *below], n_bytes, limits)
    description = directories[0].bytes_of(DESCRIPTION).decode(errors="replace")
    return TiffSlide(directories, below, description if _OME in description else "")


def _has_gaps(level: Directory) -> bool:
    return not np.all(level.tags[t.TILE_COUNTS])


def _is_same_shape(small: tuple[int, int], large: tuple[int, int]) -> bool:
    across, down = (b / a for a, b in zip(small, large, strict=True))
    # A side of a few pixels is rounded by much.
    return max(across, down) <= min(across, down) * (_MAX_RATIO + 1 / min(small))
