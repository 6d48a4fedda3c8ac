"""Checks of a TIFF before a pixel is read; OpenSlide itself reads some kinds of pixels wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from app.core.formats import tiff_tags as t
from app.core.slide_errors import CorruptSlideError, SlideFormatError, SlideTooLargeError
from app.core.slide_limits import SlideLimits
from app.slides.reading.tiff_directories import Directory

MAX_TILE_PIXELS: Final = 4096 * 4096
"""Maximum size of a tile inside, which a decoder allocates at once; the limit of uploaded tiles."""
_BITS, _MIN_SAMPLES = 8, 3
_PHOTOMETRIC: Final = (t.RGB, t.YCBCR)


def require_sound_levels(
    directories: Sequence[Directory], n_bytes: int, limits: SlideLimits
) -> None:
    """Check the tiled images of a TIFF.

    Args:
        directories: of the file.
        n_bytes: size of the file.
        limits: on sizes.

    Raises:
        SlideFormatError: no tiles, or pixels that are no RGB of 8 bits a sample.
        SlideTooLargeError: beyond the limits.
        CorruptSlideError: the tables contradict each other, or point behind the end of the file.
    """
    tiled = [directory for directory in directories if directory.is_tiled]
    if not tiled:
        raise SlideFormatError(
            "it is a TIFF without tiles. Save it as a tiled TIFF with a pyramid, or classify its "
            "parts as single tiles."
        )
    for directory in tiled:
        _require_size(directory, limits)
    _require_colours(max(tiled, key=lambda directory: directory.size[0] * directory.size[1]))
    for directory in tiled:
        _require_tiles(directory, n_bytes)


def _require_size(directory: Directory, limits: SlideLimits) -> None:
    width, height = directory.size
    tile_width, tile_height = directory.one(t.TILE_WIDTH), directory.one(t.TILE_HEIGHT)
    if min(width, height, tile_width, tile_height) <= 0:
        raise CorruptSlideError("an image of the TIFF has no size.")
    if width * height > limits.max_pixels:
        raise SlideTooLargeError(width * height, limits.max_pixels, "pixels")
    if tile_width * tile_height > MAX_TILE_PIXELS:
        raise SlideTooLargeError(tile_width * tile_height, MAX_TILE_PIXELS, "pixels in one tile")


def _require_colours(directory: Directory) -> None:
    bits = directory.tags.get(t.BITS, np.ones(1, np.uint64))
    n_samples = directory.one(t.SAMPLES_PER_PIXEL, 1)
    if set(bits.tolist()) != {_BITS}:
        raise SlideFormatError(
            f"it has {int(bits.max(initial=0))} bits a sample; only slides of 8 bits are read."
        )
    photometric = directory.one(t.PHOTOMETRIC)
    if n_samples < _MIN_SAMPLES or photometric not in _PHOTOMETRIC:
        name = t.PHOTOMETRIC_NAMES.get(photometric, f"photometric {photometric}")
        raise SlideFormatError(
            f"its pixels are {name} with {n_samples} samples; only slides in RGB are read."
        )
    if directory.one(t.PLANAR, 1) != 1:
        raise SlideFormatError("its colours lie in separate planes, which is not read.")


def _require_tiles(directory: Directory, n_bytes: int) -> None:
    width, height = directory.size
    n_tiles = -(-width // directory.one(t.TILE_WIDTH)) * -(-height // directory.one(t.TILE_HEIGHT))
    if directory.one(t.PLANAR, 1) != 1:  # of a picture that is no level
        n_tiles *= directory.one(t.SAMPLES_PER_PIXEL, 1)
    offsets = directory.tags[t.TILE_OFFSETS]
    counts = directory.tags.get(t.TILE_COUNTS, np.empty(0, np.uint64))
    if not len(offsets) == len(counts) == n_tiles:
        raise CorruptSlideError(
            f"an image of {width} x {height} px has {len(offsets)} tiles instead of {n_tiles}."
        )
    # Compared this way round since a forged sum may exceed 64 bits.
    limit = np.uint64(n_bytes)
    n_beyond = int(((counts > limit) | (offsets > limit - np.minimum(counts, limit))).sum())
    if n_beyond:
        raise CorruptSlideError(
            f"{n_beyond} of {n_tiles} tiles of an image lie behind the end of the file, which may "
            "be incomplete. Copy or send it again."
        )
