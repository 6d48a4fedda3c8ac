"""Small valid files, and the pieces to build files that are not."""

from __future__ import annotations

import io
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.encoders import png_chunk

SIDE_PX: Final = 64
MAX_PIXELS: Final = 4096 * 4096


def picture(height: int = SIDE_PX, width: int = SIDE_PX) -> NDArray[np.uint8]:
    """Asymmetric in both directions, so that a flip shows."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack(
        [255 * y / height, 255 * x / width, 255 * (x + y) / (height + width)], -1
    ).astype(np.uint8)


def encoded(format_: str, image: Image.Image | None = None, /, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or Image.fromarray(picture())).save(buffer, format_, **options)
    return buffer.getvalue()


def exif(orientation: int, order: str = "<", n_padding: int = 0) -> bytes:
    """EXIF data of one tag, without `Exif` before them; `order` is `<` or `>`."""
    mark = b"II" if order == "<" else b"MM"
    header = struct.pack(f"{order}HI", 42, 8)
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + header + struct.pack(f"{order}H", 1) + entry + bytes(4 + n_padding)


def jpeg_segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def after_start(jpeg: bytes, *segments: bytes) -> bytes:
    """A JPEG with segments directly behind its first two bytes."""
    return b"".join([jpeg[:2], *segments, jpeg[2:]])


def before_image_data(png: bytes, *chunks: bytes) -> bytes:
    at = png.index(b"IDAT") - 4
    return b"".join([png[:at], *chunks, png[at:]])


def webp_chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def webp(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def extended_webp(image: bytes, flags: int, *chunks: bytes, side_px: int = SIDE_PX) -> bytes:
    """A WebP with an extended header before the image chunk of a plain one."""
    side = (side_px - 1).to_bytes(3, "little")
    head = webp_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + side + side)
    return webp(head, image[12:], *chunks)


SMALL: Final = {
    "JPEG": encoded("JPEG", exif=b"Exif\0\0" + exif(6)),
    "progressive JPEG": encoded("JPEG", progressive=True),
    "PNG": before_image_data(encoded("PNG"), png_chunk(b"eXIf", exif(6, ">"))),
    "TIFF": encoded("TIFF"),
    "compressed TIFF": encoded("TIFF", compression="tiff_lzw"),
    "big TIFF": encoded("TIFF", big_tiff=True),
    "WebP": extended_webp(encoded("WEBP"), 0x08, webp_chunk(b"EXIF", exif(6))),
    "lossless WebP": encoded("WEBP", lossless=True),
}
"""Small files of every format."""
