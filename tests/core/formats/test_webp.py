"""WebP: which files are refused, and which size counts."""

from __future__ import annotations

import pytest
from PIL import Image

from app.core.formats.webp import MAX_CHUNKS, read_webp
from app.core.tile_errors import CorruptTileError, TooManyFramesError, TooManySegmentsError
from tests.core.formats.files import encoded, exif, extended_webp, webp, webp_chunk

LOSSY, LOSSLESS = encoded("WEBP"), encoded("WEBP", lossless=True)
PLAIN = {"lossy": LOSSY, "lossless": LOSSLESS, "extended": extended_webp(LOSSY, 0)}


@pytest.mark.parametrize("name", PLAIN)
def test_ordinary_file_is_accepted(name: str) -> None:
    structure = read_webp(PLAIN[name])
    assert (structure.width_px, structure.height_px, structure.orientation) == (64, 64, 1)
    assert structure.pixel_bytes == PLAIN[name]
    assert not structure.is_predictable


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (65, 300), (16_383, 64)])
def test_size_is_read(size: tuple[int, int], lossless: bool) -> None:
    structure = read_webp(encoded("WEBP", Image.new("RGB", size), lossless=lossless))
    assert (structure.width_px, structure.height_px) == size


def test_larger_one_of_canvas_and_image_counts() -> None:
    assert read_webp(extended_webp(LOSSY, 0, side_px=1 << 24)).width_px == 1 << 24
    assert read_webp(extended_webp(LOSSY, 0, side_px=1)).width_px == 64


def test_animation_is_refused() -> None:
    with pytest.raises(TooManyFramesError) as caught:
        read_webp(extended_webp(LOSSY, 0x02))
    assert caught.value.limit_frames == 1


@pytest.mark.parametrize("content", [webp(), webp(webp_chunk(b"VP8 ", bytes(20))), LOSSY[:20]])
def test_file_without_an_image_is_refused(content: bytes) -> None:
    with pytest.raises(CorruptTileError) as caught:
        read_webp(content)
    assert caught.value.format == "WEBP"


def test_chunks_are_bounded() -> None:
    empty = webp_chunk(b"ABCD", b"")
    assert read_webp(extended_webp(LOSSY, 0, empty * (MAX_CHUNKS - 3))).width_px == 64
    with pytest.raises(TooManySegmentsError) as caught:
        read_webp(extended_webp(LOSSY, 0, empty * MAX_CHUNKS))
    assert (caught.value.format, caught.value.limit_segments) == ("WebP", MAX_CHUNKS)


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_orientation_is_read(prefix: bytes) -> None:
    content = extended_webp(LOSSY, 0x08, webp_chunk(b"EXIF", prefix + exif(6, ">")))
    assert read_webp(content).orientation == 6
