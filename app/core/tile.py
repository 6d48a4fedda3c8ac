"""Decode an encoded image to the model's input. Training and serving both call `decode_tile`.

The steps, in order: detect the format from the content; check the limits on the header before
decoding any pixel; decode JPEG at a reduced DCT scale; resample the centre square to the model's
side; composite transparent pixels over white; apply the orientation. ICC profiles are ignored:
the training tiles have none, so applying one would leave the model's domain.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImagePalette, UnidentifiedImageError

from app.core.formats import FORMATS, Structure, read_structure
from app.core.formats.jpeg_pixels import decode_jpeg
from app.core.formats.png_damage import require_whole_pixels
from app.core.formats.png_transparency import transparency_of
from app.core.formats.tiff_pixels import decode_tiff
from app.core.tile_errors import (
    CorruptTileError,
    EmptyTileError,
    PixelFormatError,
    TileTooLargeError,
    TileTooSmallError,
    TooManyPixelsError,
)

TILE_SIDE_PX: Final = 224
"""Default side of a decoded tile, in pixels: the input size of the study's ImageNet networks."""

# Reducing by an integer factor first takes a fifth of the time of full resampling; with a gap of 2
# the results differ by at most one grey level.
_REDUCING_GAP: Final = 2.0
_WHITE: Final = (255, 255, 255, 255)
_SIXTEEN_BIT_MODES: Final = ("I;16", "I;16L", "I;16B", "I;16N")
_COLOUR_MODES: Final = ("1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr")
_TRANSPOSE_BY_ORIENTATION: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Exceptions that Pillow's decoders raise on damaged input, found by fuzzing.
_DECODER_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class TileLimits:
    """Limits on the cost of decoding one upload.

    Attributes:
        max_bytes: encoded size.
        max_pixels: width times height, checked on the header. Memory grows with it, by about 12
            bytes per pixel at the peak.
        min_side_px: length of the shorter side. Smaller images show too little tissue to be
            enlarged to the model's side.
    """

    max_bytes: int = 20 * 1024**2
    max_pixels: int = 4096 * 4096
    min_side_px: int = 64


DEFAULT_LIMITS: Final = TileLimits()


@dataclass(frozen=True, slots=True)
class TileHeader:
    """What a file says about its tile, and how it decoded.

    Attributes:
        format: one of `FORMATS`.
        width_px, height_px: after applying the EXIF orientation.
        is_damaged: whether the decoder replaced or skipped damaged data; seen in JPEG only, also
            inside a TIFF, since other formats with damaged data are refused or show nothing.
    """

    format: str
    width_px: int
    height_px: int
    is_damaged: bool = False


Decoded = tuple[NDArray[np.uint8], TileHeader]
"""A tile, uint8 `[side_px, side_px, 3]` RGB, and the header of its file."""


def decode_tile(
    tile_bytes: bytes, limits: TileLimits = DEFAULT_LIMITS, side_px: int = TILE_SIDE_PX
) -> NDArray[np.uint8]:
    """Decode an encoded image to the model's input, if it is undamaged.

    Args:
        tile_bytes: content of a JPEG, PNG, TIFF or WebP file, recognised by the content alone.
        limits: checked before any pixel is decoded.
        side_px: side of the result, in pixels.

    Returns:
        uint8 `[side_px, side_px, 3]`, RGB, 0 to 255.

    Raises:
        TileError: a subclass of it, for every input that cannot be decoded.
        CorruptTileError: also if a part of it can be decoded, of which the pixels alone would not
            tell; see `decode_tile_and_header`.
    """
    tile, header = decode_tile_and_header(tile_bytes, limits, side_px)
    if header.is_damaged:
        raise CorruptTileError(header.format)
    return tile


def decode_tile_and_header(
    tile_bytes: bytes, limits: TileLimits = DEFAULT_LIMITS, side_px: int = TILE_SIDE_PX
) -> Decoded:
    """Decode like `decode_tile`, and return the header as well.

    A damaged tile is returned if a decoder recovers most of it, and marked in the header.
    """
    structure = read_tile_structure(tile_bytes, limits)
    return decode_structure(structure, limits, side_px)


def read_tile_structure(tile_bytes: bytes, limits: TileLimits) -> Structure:
    """Check an upload against the limits and read its structure; nothing is decoded.

    Raises:
        TileError: one of its subclasses.
    """
    if not tile_bytes:
        raise EmptyTileError
    if len(tile_bytes) > limits.max_bytes:
        raise TileTooLargeError(limits.max_bytes)
    structure = read_structure(tile_bytes, limits.max_pixels)
    _require_size(structure.width_px, structure.height_px, limits)
    return structure


def decode_structure(structure: Structure, limits: TileLimits, side_px: int) -> Decoded:
    """Decode a file whose structure was read; see `decode_tile_and_header`."""
    try:
        image, is_damaged = _decode_pixels(structure, limits, side_px)
        square = _resample_centre_square(image, side_px)
    except _DECODER_ERRORS as error:
        raise CorruptTileError(structure.format) from error
    width_px, height_px = structure.width_px, structure.height_px
    transpose = _TRANSPOSE_BY_ORIENTATION.get(structure.orientation)
    if transpose is not None:
        square = square.transpose(transpose)
    if structure.orientation >= 5:
        width_px, height_px = height_px, width_px
    header = TileHeader(structure.format, width_px, height_px, is_damaged)
    return np.array(square, dtype=np.uint8), header


def _decode_pixels(
    structure: Structure, limits: TileLimits, side_px: int
) -> tuple[Image.Image, bool]:
    """RGB, or RGBA if it has transparency, and whether the decoder warned of damage."""
    if structure.tiff is not None:
        image, is_damaged = decode_tiff(structure.pixel_bytes, structure.tiff)
        return _with_colour(image), is_damaged
    decoded = decode_jpeg(structure, side_px) if structure.format == "JPEG" else None
    return decoded or (_decode_with_pillow(structure, limits, side_px), False)


def _decode_with_pillow(structure: Structure, limits: TileLimits, side_px: int) -> Image.Image:
    """RGB, or RGBA if it has transparency."""
    image = _open_within_limits(structure, limits)
    image.draft(None, (side_px, side_px))
    if isinstance(image, ImageFile.ImageFile):
        # In blocks of 64 kB, the default, the decoder would copy the rest for every block.
        image.decodermaxblock = len(structure.pixel_bytes)
    image.load()
    if structure.format == "PNG":
        require_whole_pixels(structure.pixel_bytes, image)
        if image.mode == "P" and image.palette:
            _require_colours(image, image.palette)
    colour = structure.transparent_colour
    if colour is not None:
        alpha = transparency_of(structure.pixel_bytes, image, colour)
        image = _with_colour(image)
        if alpha is not None:
            image.putalpha(alpha)
        return image
    return _with_colour(image)


def _require_colours(image: Image.Image, palette: ImagePalette.ImagePalette) -> None:
    """Check that the palette has each colour; decoders disagree about others."""
    if np.asarray(image).max() >= len(palette.palette) // 3:
        raise CorruptTileError("PNG")


def _open_within_limits(structure: Structure, limits: TileLimits) -> Image.Image:
    """Open the header and check it once more, as Pillow reads it; no pixel is decoded."""
    try:
        image = Image.open(io.BytesIO(structure.pixel_bytes), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooManyPixelsError(limits.max_pixels) from None
    except (UnidentifiedImageError, *_DECODER_ERRORS) as error:
        raise CorruptTileError(structure.format) from error
    _require_size(*image.size, limits)
    if image.mode not in _COLOUR_MODES and image.mode not in _SIXTEEN_BIT_MODES:
        raise PixelFormatError(image.mode)
    return image


def _require_size(width_px: int, height_px: int, limits: TileLimits) -> None:
    if width_px * height_px > limits.max_pixels:
        raise TooManyPixelsError(limits.max_pixels)
    if min(width_px, height_px) < limits.min_side_px:
        raise TileTooSmallError(width_px, height_px, limits.min_side_px)


def _with_colour(image: Image.Image) -> Image.Image:
    """Convert every supported pixel layout to RGB, or to RGBA if it has transparency."""
    if image.mode in _SIXTEEN_BIT_MODES:
        # The high byte is exact for 8-bit values multiplied by 257, as scanners and TIFF do it.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return _as_rgb(image)


def _as_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")  # which copies


def _resample_centre_square(image: Image.Image, side_px: int) -> Image.Image:
    width_px, height_px = image.size
    edge_px = min(width_px, height_px)
    left, top = (width_px - edge_px) / 2, (height_px - edge_px) / 2
    square = image.resize(
        (side_px, side_px),
        Image.Resampling.BICUBIC,
        box=(left, top, left + edge_px, top + edge_px),
        reducing_gap=_REDUCING_GAP,
    )
    if square.mode == "RGBA":
        square = Image.alpha_composite(Image.new("RGBA", square.size, _WHITE), square)
    return _as_rgb(square)
