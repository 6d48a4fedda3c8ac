"""TIFFs of several images: what they are is named, and nothing is decoded."""

from __future__ import annotations

import io
import struct
from typing import Any, Final

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from app.core.formats.tiff import read_tiff
from app.core.formats.tiff_images import MASK, MAX_IMAGES, PAGES, PREVIEW, PREVIEW_FIRST, PYRAMID
from app.core.tile_errors import CorruptTileError, TooManyFramesError
from tests.core.formats.files import MAX_PIXELS, encoded, picture

Page = tuple[NDArray[Any], dict[str, Any]]
REDUCED: Final = {"subfiletype": 1}


def pages(*pages: Page, big: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=big) as writer:
        for pixels, options in pages:
            writer.write(pixels, metadata=None, **{"photometric": "rgb", **options})
    return buffer.getvalue()


def squares(*sides_px: int, **options: Any) -> list[Page]:
    return [(picture(side_px, side_px), options) for side_px in sides_px]


MASK_PAGE: Final[Page] = (
    np.ones((256, 256), bool),
    {"photometric": "mask", "subfiletype": 4},
)
FILES: Final = {
    "marked levels": (
        pages(*squares(512), *squares(256, 128, 64, **REDUCED)),
        f"4 images: {PYRAMID}",
    ),
    "levels by size": (pages(*squares(512, 256, 128)), f"3 images: {PYRAMID}"),
    "levels below": (
        pages(*squares(512, subifds=3), *squares(256, 128, 64, **REDUCED), big=True),
        f"4 images: {PYRAMID}",
    ),
    "padded levels": (
        pages((picture(700, 1000), {}), (picture(176, 256), {}), (picture(48, 64), {})),
        f"3 images: {PYRAMID}",
    ),
    "a slide's label": (
        pages(*squares(512, 256, 128), (picture(300, 200), {})),
        f"4 images: {PYRAMID}",
    ),
    "a thumbnail": (pages(*squares(512), *squares(64, **REDUCED)), f"2 images: {PREVIEW}"),
    "two levels": (pages(*squares(256, 128)), f"2 images: {PREVIEW}"),
    "a mask": (pages(*squares(256), MASK_PAGE), f"2 images: {MASK}"),
    "a preview first": (
        pages(*squares(64, subifds=1, **REDUCED), *squares(512)),
        f"2 images: {PREVIEW_FIRST}",
    ),
    "pages": (pages(*squares(256, 256, 256)), f"3 images: {PAGES}"),
    "pages of any size": (pages(*squares(64, 256)), f"2 images: {PAGES}"),
    "too many to count": (
        pages(*squares(*[64] * (MAX_IMAGES + 20))),
        f"over {MAX_IMAGES} images: {PAGES}",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_several_images_are_named(name: str) -> None:
    content, found = FILES[name]
    with pytest.raises(TooManyFramesError) as caught:
        read_tiff(content, MAX_PIXELS)
    assert (caught.value.limit_frames, caught.value.content) == (1, found)
    assert str(caught.value).startswith(f"The file holds {found}, but a tile is 1 image.")


def test_error_says_what_to_do_with_a_slide() -> None:
    with pytest.raises(TooManyFramesError, match="From a slide, cut tiles"):
        read_tiff(pages(*squares(512, 256, 128)), MAX_PIXELS)


@pytest.mark.parametrize("kind", [1, 2])
def test_an_image_alone_in_its_file_is_read_whatever_it_is_called(kind: int) -> None:
    assert read_tiff(pages(*squares(64, subfiletype=kind)), MAX_PIXELS).width_px == 64


def with_next_directory(at: int) -> bytes:
    content = bytearray(encoded("TIFF"))
    (first,) = struct.unpack_from("<I", content, 4)
    (n_tags,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * n_tags, at or first)
    return bytes(content)


def test_directory_that_points_at_itself_is_one_image() -> None:
    assert read_tiff(with_next_directory(0), MAX_PIXELS).width_px == 64


def test_directory_beyond_the_end_is_damage() -> None:
    """A multi-page file that was cut, perhaps."""
    with pytest.raises(CorruptTileError):
        read_tiff(with_next_directory(10_000_000), MAX_PIXELS)
