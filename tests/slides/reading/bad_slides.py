"""Files that are no slides, or slides that are damaged or forged, and why each is refused."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from PIL import Image

from tests.encoders import Values, jpeg, png, strips, tiff, tiff_tags, tiles
from tests.slides.drawn_slides import Drawing, draw_slide

Maker = Callable[[Path], bytes]

_SIDE: Final = 256
_MPP: Final = {282: ("R", [10_000, 1]), 283: ("R", [10_000, 1]), 296: ("H", [3])}
"""One um per pixel: 10,000 pixels per centimetre."""


def tiled(width: int, height: int, tile: bytes, tags: Mapping[int, Values] | None = None) -> bytes:
    """A slide without a pyramid, all tiles of which are the same bytes of the file."""
    n_tiles = -(-width // _SIDE) * -(-height // _SIDE)
    grid = tiles(_SIDE, _SIDE, [8] * n_tiles, [len(tile)] * n_tiles)
    ordinary = {**tiff_tags(width, height, 7), 262: ("H", [6]), **grid, **_MPP}
    return tiff({**ordinary, **(tags or {})}, tile)


def many_scans(n_scans: int) -> bytes:
    """A progressive JPEG of 256 px whose last scan is repeated."""
    base = jpeg(_SIDE, progressive=True)
    end = base.rindex(b"\xff\xd9")
    return base[:end] + base[base.rindex(b"\xff\xda") : end] * n_scans + base[end:]


def _written(**options: Any) -> bytes:
    """What `tifffile` writes of 300 x 300 px."""
    shape = options.pop("shape")
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros(shape, options.pop("dtype", np.uint8)), **options)
    return stream.getvalue()


def _drawn(folder: Path) -> bytes:
    slide = draw_slide(folder / "drawn.svs", Drawing(kind="svs", columns=2, rows=2))
    return slide.path.read_bytes()


def _looped(_: Path) -> bytes:
    """The directory names itself as the next one."""
    content = bytearray(tiled(512, 512, jpeg(_SIDE)))
    (at,) = struct.unpack_from("<I", content, 4)
    (n_tags,) = struct.unpack_from("<H", content, at)
    struct.pack_into("<I", content, at + 2 + 12 * n_tags, at)
    return bytes(content)


def _forged_count(_: Path) -> bytes:
    """Four billion tiles, where there are four."""
    content = bytearray(tiled(512, 512, jpeg(_SIDE)))
    entry = content.index(struct.pack("<HHI", 324, 4, 4))
    struct.pack_into("<I", content, entry + 4, 2**32 - 1)
    return bytes(content)


def _lower_level_behind_the_end(_: Path) -> bytes:
    """The second image is RGB, unlike the first, and its last tile has no data."""
    stream = io.BytesIO()
    one = jpeg(_SIDE)
    with tifffile.TiffWriter(stream) as out:
        for side, photometric in ((1024, "ycbcr"), (512, "rgb")):
            n_tiles = (side // _SIDE) ** 2
            out.write(
                iter([one] * n_tiles),
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(_SIDE, _SIDE),
                compression="jpeg",
                photometric=photometric,
                subfiletype=int(side == 512),
                resolution=(10_000, 10_000),
                resolutionunit="CENTIMETER",
                metadata=None,
                compressionargs={"outcolorspace": photometric},
            )
        stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        page = file.pages[1]
        assert isinstance(page, tifffile.TiffPage)
        at = page.tags["TileOffsets"].valueoffset
    content = bytearray(stream.getvalue())
    struct.pack_into("<I", content, at + 12, 2**32 - 2)
    return bytes(content)


def _many_images(_: Path) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as out:
        for _index in range(300):
            out.write(np.zeros((64, 64, 3), np.uint8), tile=(64, 64), photometric="rgb")
    return stream.getvalue()


def _jpeg_file(_: Path) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (512, 512)).save(stream, "JPEG")
    return stream.getvalue()


def _at_72_dpi() -> dict[int, Values]:
    return {282: ("R", [72, 1]), 283: ("R", [72, 1]), 296: ("H", [2])}


REFUSED: Final[Mapping[str, tuple[Maker, str, str]]] = {
    "empty": (lambda _: b"", "unsupported-slide", "it is empty"),
    "text": (lambda _: b"id,label\n1,viable\n" * 9999, "unsupported-slide", "does not know"),
    "random bytes": (
        lambda _: np.random.default_rng(1).bytes(100_000),
        "unsupported-slide",
        "does not know",
    ),
    "PNG": (lambda _: png(512), "unsupported-slide", "it is a PNG image"),
    "JPEG": (_jpeg_file, "unsupported-slide", "it is a JPEG image"),
    "ZIP": (lambda _: b"PK\x03\x04" + bytes(99), "unsupported-slide", "it is a ZIP archive"),
    "strips": (
        lambda _: tiff({**tiff_tags(64, 64), **strips(64, [8], [12_288])}, bytes(12_288)),
        "unsupported-slide",
        "without tiles",
    ),
    "16-bit grey": (
        lambda _: _written(shape=(512, 512), dtype=np.uint16, tile=(256, 256)),
        "unsupported-slide",
        "16 bits a sample",
    ),
    "16-bit RGB": (
        lambda _: _written(
            shape=(512, 512, 3), dtype=np.uint16, tile=(256, 256), photometric="rgb"
        ),
        "unsupported-slide",
        "16 bits a sample",
    ),
    "grey": (
        lambda _: _written(shape=(512, 512), tile=(256, 256)),
        "unsupported-slide",
        "greyscale with 1 sample",
    ),
    "planar": (
        lambda _: _written(
            shape=(3, 512, 512), tile=(256, 256), photometric="rgb", planarconfig="separate"
        ),
        "unsupported-slide",
        "separate planes",
    ),
    "half of a slide": (lambda at: (whole := _drawn(at))[: len(whole) // 2], "corrupt-slide", ""),
    "its last byte missing": (
        lambda _: tiled(512, 512, jpeg(_SIDE))[:-1],
        "corrupt-slide",
        "may be incomplete",
    ),
    "header only": (lambda at: _drawn(at)[:100], "corrupt-slide", "may be incomplete"),
    "tiles behind the end": (
        lambda _: tiled(512, 512, jpeg(_SIDE), {324: ("I", [8, 8, 8, 10**9])}),
        "corrupt-slide",
        "1 of 4 tiles of an image lie behind the end",
    ),
    "tiles of a lower level behind the end": (
        _lower_level_behind_the_end,
        "corrupt-slide",
        "1 of 4 tiles of an image lie behind the end",
    ),
    "too few tiles": (
        lambda _: tiled(512, 512, jpeg(_SIDE), {324: ("I", [8] * 3), 325: ("I", [9] * 3)}),
        "corrupt-slide",
        "3 tiles instead of 4",
    ),
    "loop": (_looped, "corrupt-slide", "form a loop"),
    "forged count": (_forged_count, "corrupt-slide", "damaged"),
    "many images": (_many_images, "unsupported-slide", "more than 256 images"),
    "40 gigapixels": (
        lambda _: tiled(200_000, 200_000, jpeg(_SIDE)),
        "slide-too-large",
        "40,000,000,000 pixels",
    ),
    "a giant tile": (
        lambda _: tiff({**tiff_tags(64, 64, 7), **tiles(65_520, 32_000, [8], [99])}, bytes(99)),
        "slide-too-large",
        "pixels in one tile",
    ),
    "no size": (lambda _: tiled(0, 512, jpeg(_SIDE)), "corrupt-slide", "has no size"),
    "no resolution": (
        lambda _: tiled(512, 512, jpeg(_SIDE), {296: ("H", [1])}),
        "slide-resolution",
        "does not state it",
    ),
    "72 dpi": (
        lambda _: tiled(512, 512, jpeg(_SIDE), _at_72_dpi()),
        "slide-resolution",
        "352.778 um per pixel",
    ),
    "no squares": (
        lambda _: tiled(512, 512, jpeg(_SIDE), {283: ("R", [20_000, 1])}),
        "slide-resolution",
        "1 um per pixel across and 0.5 down",
    ),
}
"""For each name: the maker of the file, the code of the error and a part of its text."""
