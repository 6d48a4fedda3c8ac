"""TIFF and BigTIFF: one image, and what its strips or tiles decode to (TIFF 6.0)."""

from __future__ import annotations

from app.core.formats import tiff_tags as t
from app.core.formats.ifd import TooManyValuesError, read_directory
from app.core.formats.structure import Structure
from app.core.formats.tiff_images import require_one_image
from app.core.formats.tiff_layout import MAX_PIECES, read_layout
from app.core.formats.tiff_samples import one, read_samples
from app.core.tile_errors import CorruptTileError, TooManyPixelsError, TooManySegmentsError


def read_tiff(tiff: bytes, max_pixels: int) -> Structure:
    """Read the tags of a TIFF, decide whether its pixels are read, and bound what that costs.

    Args:
        tiff: begins with a byte order mark.
        max_pixels: width times height; checked first, since a whole slide breaks other rules too.

    Raises:
        TooManyPixelsError: the image is larger.
        CorruptTileError: no directory, or strips and tiles that the file does not hold.
        TooManyFramesError: several images.
        PixelFormatError: pixels that are not read; it names them.
        TooManySegmentsError: more than `MAX_PIECES` strips or tiles.
        DecodeBudgetError: strips or tiles that decode to many times the image, or share data.
    """
    try:
        tags, _ = read_directory(tiff, t.OF_PIXELS, MAX_PIECES)
        width_px, height_px = one(tags, t.WIDTH), one(tags, t.HEIGHT)
        if min(width_px, height_px) < 1:
            raise CorruptTileError("TIFF")
        if width_px * height_px > max_pixels:
            raise TooManyPixelsError(max_pixels)
        require_one_image(tiff)
        samples = read_samples(tags, "<" if tiff.startswith(b"II") else ">")
        piece_tags, _ = read_directory(tiff, t.OF_PIECES, MAX_PIECES)
        layout = read_layout(piece_tags, (width_px, height_px), samples, len(tiff))
        orientation = one(tags, t.ORIENTATION, 1)
    except TooManyValuesError:
        raise TooManySegmentsError("TIFF", MAX_PIECES) from None
    except (ValueError, KeyError) as error:
        raise CorruptTileError("TIFF") from error
    return Structure(
        "TIFF",
        width_px,
        height_px,
        orientation if 1 <= orientation <= 8 else 1,
        tiff,
        is_predictable=False,
        tiff=layout,
    )
