"""What every format's reader returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.core.formats.tiff_layout import TiffLayout

ImageFormat = Literal["JPEG", "PNG", "TIFF", "WEBP"]


@dataclass(frozen=True, slots=True)
class Structure:
    """An image file whose framing was read; no pixel has been decoded.

    Attributes:
        format: decided by content, not by a name or a media type.
        width_px, height_px: as encoded, before any orientation.
        orientation: EXIF's, 1 to 8.
        pixel_bytes: the file without metadata that the pixels do not need; the file itself if
            there is nothing to drop.
        is_predictable: whether decoding costs no more than its pixels say. Other files are decoded
            in a process that can be killed.
        transparent_colour: of a grey or RGB PNG, one number a sample, 0 to 65,535 in a picture of
            16 bits and 0 to 255 in others; `pixel_bytes` do not state it.
        tiff: what `app.core.formats.tiff_pixels` needs; `None` for other formats.
    """

    format: ImageFormat
    width_px: int
    height_px: int
    orientation: int
    pixel_bytes: bytes
    is_predictable: bool
    transparent_colour: tuple[int, ...] | None = None
    tiff: TiffLayout | None = None
