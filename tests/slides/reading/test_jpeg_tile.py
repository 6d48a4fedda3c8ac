from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from app.core.slide_errors import CorruptSlideError
from app.slides.reading.jpeg_tile import JpegTileDecoder

SIDE_PX = 256
SIZE = (SIDE_PX, SIDE_PX)
SOF0 = b"\xff\xc0"


def encoded() -> bytes:
    pixels = np.full((SIDE_PX, SIDE_PX, 3), (200, 120, 180), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", subsampling=0)
    return stream.getvalue()


def with_sampling(jpeg: bytes, sampling: int) -> bytes:
    """Change the sampling factors of the first component in the frame header."""
    at = jpeg.index(SOF0) + 11
    return jpeg[:at] + bytes([sampling]) + jpeg[at + 1 :]


def test_a_tile_is_decoded_at_a_reduced_scale() -> None:
    tile = JpegTileDecoder().decode(encoded(), SIZE, 4)
    assert tile.shape == (SIDE_PX // 4, SIDE_PX // 4, 3)
    assert np.abs(tile.mean(axis=(0, 1)) - (200, 120, 180)).max() < 3


@pytest.mark.parametrize("sampling", range(256))
def test_every_subsampling_is_decoded_or_refused(sampling: int) -> None:
    try:
        tile = JpegTileDecoder().decode(with_sampling(encoded(), sampling), SIZE, 4)
    except CorruptSlideError:
        return
    assert tile.shape == (SIDE_PX // 4, SIDE_PX // 4, 3)
