"""Files made to cost memory or time far beyond their size; each generator says how."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Final

from PIL import Image

from tests.encoders import jpeg, png, png_chunk, strips, tiff, tiff_tags, tiles


def one_giant_tile() -> bytes:
    """64 x 64 px in one tile of 65,520 x 32,000 px: libtiff allocates the tile, 2 GB."""
    data = bytes(8)
    return tiff({**tiff_tags(64, 64), **tiles(65_520, 32_000, [8], [8])}, data)


def one_giant_jpeg_tile() -> bytes:
    """The same with a JPEG as the tile's data."""
    data = jpeg(64)
    return tiff({**tiff_tags(64, 64, 7), **tiles(65_520, 32_000, [8], [len(data)])}, data)


def one_giant_strip() -> bytes:
    """64 x 64 px whose only strip claims four billion rows."""
    return tiff({**tiff_tags(64, 64, 8), **strips(2**32 - 1, [8], [8])}, zlib.compress(bytes(9)))


def tall_tiles_that_share_data(n_tiles: int = 16_384) -> bytes:
    """A low, wide image in tiles 64 times as tall, all of which read the same compressed data."""
    data = zlib.compress(bytes(16 * 4096 * 3), 9)
    grid = tiles(16, 4096, [8] * n_tiles, [len(data)] * n_tiles)
    return tiff({**tiff_tags(16 * n_tiles, 64, 8), **grid}, data)


def tiles_within_the_padding(n_tiles: int = 4096) -> bytes:
    """As much padding and shared data as is accepted."""
    data = zlib.compress(bytes(64 * 256 * 3), 9)
    grid = tiles(64, 256, [8] * n_tiles, [len(data)] * n_tiles)
    return tiff({**tiff_tags(64 * n_tiles, 64, 8), **grid}, data)


def repeated_tags() -> bytes:
    """Two tile widths: one that a check reads, and one that a decoder may read."""
    ordinary = tiff({**tiff_tags(64, 64), **tiles(64, 64, [8], [64 * 64 * 3])}, bytes(64 * 64 * 3))
    at = ordinary.index(struct.pack("<HHI", 323, 4, 1))
    giant = struct.pack("<HHII", 322, 4, 1, 65_520)
    return ordinary[:at] + giant + ordinary[at + 12 :]


def strips_that_share_data(side_px: int = 4096, n_bytes: int = 2_000_000) -> bytes:
    """A strip a row, each of which reads the same megabytes."""
    data = zlib.compress(bytes(side_px * 3)) + bytes(n_bytes)
    rows = strips(1, [8] * side_px, [len(data)] * side_px)
    return tiff({**tiff_tags(side_px, side_px, 8), **rows}, data)


def strip_that_decompresses_to_much() -> bytes:
    """A legitimate size, compressed a thousand times: what the pixels say must be enough."""
    data = zlib.compress(bytes(4096 * 4096 * 3), 9)
    return tiff({**tiff_tags(4096, 4096, 8), **strips(4096, [8], [len(data)])}, data)


def lzw_of_nothing() -> bytes:
    """LZW data that is not LZW, for every row."""
    data = b"\x80" + bytes(4096)
    rows = strips(1, [8] * 4096, [len(data)] * 4096)
    return tiff({**tiff_tags(4096, 4096, 5), **rows}, data)


def directory_of_many_values() -> bytes:
    """An unknown tag with five million values, which Pillow turns into Python numbers."""
    ordinary = {**tiff_tags(64, 64), **strips(64, [8], [64 * 64 * 3])}
    return tiff({**ordinary, 65_000: ("I", [1] * 4_900_000)}, bytes(64 * 64 * 3))


def profile_bomb(n_bytes: int = 20_000_000) -> bytes:
    """A profile that unpacks to a thousand times its size."""
    profile = zlib.compress(bytes(1000 * 1024 * 1024 // 64), 9)
    chunk = png_chunk(b"iCCP", b"x\0\0" + profile)
    return png(64, *[chunk] * max(1, n_bytes // len(chunk)))


def text_bomb() -> bytes:
    """Compressed comments, each of which unpacks to a megabyte."""
    chunk = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1_000_000), 9))
    return png(64, *[chunk] * 10_000)


def many_chunks(n_chunks: int = 1_660_000) -> bytes:
    """Empty chunks of 12 bytes."""
    return png(64, png_chunk(b"teSt", b"") * n_chunks)


def many_image_chunks(n_chunks: int = 1_660_000) -> bytes:
    """Empty image data chunks."""
    return png(64, png_chunk(b"IDAT", b"") * n_chunks)


def widest_png() -> bytes:
    """The costliest layout: 4096 x 4096 px of four 16-bit samples, interlaced."""
    return png(4096, depth=16, colour=6, interlaced=1)


def arithmetic_scans() -> bytes:
    """A progressive JPEG that says it is arithmetic-coded, with 100 scans."""
    base = jpeg(512, progressive=True).replace(b"\xff\xc2", b"\xff\xca", 1)
    end = base.rindex(b"\xff\xd9")
    return base[:end] + base[base.rindex(b"\xff\xda") : end] * 100 + base[end:]


def many_scans_of_many_pixels() -> bytes:
    """99 scans of 4096 x 4096 px, below the limit on scans alone."""
    base = jpeg(4096, progressive=True)
    end = base.rindex(b"\xff\xd9")
    return base[:end] + base[base.rindex(b"\xff\xda") : end] * 89 + base[end:]


def scans_within_the_limit() -> bytes:
    """As many scans as are allowed for the pixels."""
    base = jpeg(2048, progressive=True)
    end = base.rindex(b"\xff\xd9")
    return base[:end] + base[base.rindex(b"\xff\xda") : end] * 88 + base[end:]


def fill_bytes(n_bytes: int = 20_000_000) -> bytes:
    """Fill bytes before a marker, which a decoder skips one by one."""
    base = jpeg(64)
    return base[:2] + b"\xff" * n_bytes + base[2:]


def application_segments(n_segments: int = 5_000_000) -> bytes:
    """Empty application segments of 4 bytes."""
    base = jpeg(64)
    return base[:2] + b"\xff\xe5\0\x02" * n_segments + base[2:]


def fill_before_each_segment() -> bytes:
    """1,000 segments with a fill byte before each, and megabytes behind them."""
    base = jpeg(64)
    return base[:2] + b"\xff\xff\xe5\0\x02" * 1000 + base[2:] + bytes(19_000_000)


def segments_behind_the_scan(n_segments: int = 5_000_000) -> bytes:
    """Empty application segments where a decoder looks for the next scan."""
    base = jpeg(64, progressive=True)
    at = base.rindex(b"\xff\xda")
    return base[:at] + b"\xff\xe5\0\x02" * n_segments + base[at:]


def largest_progressive_jpeg() -> bytes:
    """Four components of 4096 x 4096 px, whose coefficients a decoder keeps."""
    buffer = io.BytesIO()
    Image.new("CMYK", (4096, 4096)).save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


def largest_tiff() -> bytes:
    """4096 x 4096 px of four 16-bit samples."""
    data = zlib.compress(bytes(4096 * 4096 * 8), 9)
    tags = {**tiff_tags(4096, 4096, 8), 258: ("H", [16] * 4), 277: ("H", [4]), 338: ("H", [2])}
    return tiff({**tags, **strips(4096, [8], [len(data)])}, data)


def warnings_without_end() -> bytes:
    """4,000 tags, each of which makes Pillow warn."""
    ordinary = {**tiff_tags(64, 64), **strips(64, [8], [64 * 64 * 3])}
    content = bytearray(
        tiff({**ordinary, **{40_000 + i: ("I", [9]) for i in range(4000)}}, bytes(64 * 64 * 3))
    )
    directory_at = 8 + 64 * 64 * 3
    for i in range(len(ordinary), len(ordinary) + 4000):  # their values are said to be elsewhere
        struct.pack_into("<II", content, directory_at + 2 + 12 * i + 4, 5000, len(content) - 9)
    return bytes(content)


def exif_of_many_tags() -> bytes:
    """5,000 EXIF tags, each of which claims the whole segment."""
    n_tags = 5000
    entries = b"".join(struct.pack("<HHII", 40_000 + i, 7, 60_000, 8) for i in range(n_tags))
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", n_tags) + entries + bytes(4)
    base = jpeg(64)
    return base[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + base[2:]


def largest_webp() -> bytes:
    """4096 x 4096 px in some hundred bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (4096, 4096)).save(buffer, "WEBP", quality=1)
    return buffer.getvalue()


def lossless_webp() -> bytes:
    """The same in the lossless format."""
    buffer = io.BytesIO()
    Image.new("RGBA", (4096, 4096)).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


FILES: Final[Mapping[str, Callable[[], bytes]]] = {
    generator.__name__: generator
    for generator in (
        one_giant_tile,
        one_giant_jpeg_tile,
        one_giant_strip,
        tall_tiles_that_share_data,
        tiles_within_the_padding,
        repeated_tags,
        largest_tiff,
        warnings_without_end,
        strips_that_share_data,
        strip_that_decompresses_to_much,
        lzw_of_nothing,
        directory_of_many_values,
        profile_bomb,
        text_bomb,
        many_chunks,
        many_image_chunks,
        widest_png,
        arithmetic_scans,
        many_scans_of_many_pixels,
        scans_within_the_limit,
        fill_bytes,
        application_segments,
        fill_before_each_segment,
        segments_behind_the_scan,
        largest_progressive_jpeg,
        exif_of_many_tags,
        largest_webp,
        lossless_webp,
    )
}
