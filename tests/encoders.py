"""Write image files from their parts, also parts that no encoder would write."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

from PIL import Image

Values = tuple[str, Sequence[int]]
"""Type of a TIFF tag's values (`B`, `H`, `I`, or `R` for rational) and the values, of a rational
numerator and denominator."""

_TIFF_TYPES: Final = {"B": 1, "H": 3, "I": 4, "R": 5}


def tiff(tags: Mapping[int, Values], data: bytes, order: str = "<") -> bytes:
    """A TIFF: header, data from byte 8, directory, long values; `order` is `<` or `>`."""
    directory_at = 8 + len(data)
    values_at = directory_at + 2 + 12 * len(tags) + 4
    entries, long_values = [], b""
    for tag, (code, values) in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(values)}{code.replace('R', 'I')}", *values)
        n_values = len(values) // 2 if code == "R" else len(values)
        if len(raw) > 4:
            raw, long_values = (
                struct.pack(f"{order}I", values_at + len(long_values)),
                long_values + raw,
            )
        entries.append(
            struct.pack(f"{order}HHI", tag, _TIFF_TYPES[code], n_values) + raw.ljust(4, b"\0")
        )
    directory = struct.pack(f"{order}H", len(tags)) + b"".join(entries) + bytes(4)
    return (
        struct.pack(f"{order}2sHI", {"<": b"II", ">": b"MM"}[order], 42, directory_at)
        + data
        + directory
        + long_values
    )


def tiff_tags(width: int, height: int, compression: int = 1) -> dict[int, Values]:
    """RGB of 8 bits a sample, without the tags of strips or tiles."""
    return {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [8, 8, 8]),
        259: ("H", [compression]),
        262: ("H", [2]),
        277: ("H", [3]),
    }


def tiles(
    width: int, height: int, offsets: Sequence[int], counts: Sequence[int]
) -> dict[int, Values]:
    """Tags of a tiled TIFF."""
    return {322: ("I", [width]), 323: ("I", [height]), 324: ("I", offsets), 325: ("I", counts)}


def strips(rows: int, offsets: Sequence[int], counts: Sequence[int]) -> dict[int, Values]:
    """Tags of a TIFF in strips."""
    return {273: ("I", offsets), 278: ("I", [rows]), 279: ("I", counts)}


def jpeg(side_px: int, **options: object) -> bytes:
    """A plain JPEG."""
    buffer = io.BytesIO()
    Image.new("RGB", (side_px, side_px), (221, 160, 221)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    side_px: int, *chunks: bytes, depth: int = 8, colour: int = 2, interlaced: int = 0
) -> bytes:
    """A black PNG with further chunks before the image data."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    head = struct.pack(">IIBBBBB", side_px, side_px, depth, colour, 0, 0, interlaced)
    n_bytes = (side_px * samples * depth // 8 + 1) * side_px * (2 if interlaced else 1)
    data = zlib.compress(bytes(n_bytes), 9)
    return b"".join([
        b"\x89PNG\r\n\x1a\n",
        png_chunk(b"IHDR", head),
        *chunks,
        png_chunk(b"IDAT", data),
        png_chunk(b"IEND", b""),
    ])  # fmt: skip
