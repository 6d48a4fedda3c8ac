"""TIFF with Deflate data: libtiff stops at the last row and leaves the checksum unread."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, Final

import numpy as np
import pytest
import tifffile

from app.core.tile import decode_tile
from app.core.tile_errors import CorruptTileError
from tests.core.formats.files import SIDE_PX, encoded, picture

EXPECTED: Final = decode_tile(encoded("PNG"))


def deflated(**options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, picture(), photometric="rgb", compression="adobe_deflate", **options)
    return buffer.getvalue()


def with_strip(strip: bytes) -> bytes:
    """A TIFF of one strip, whose data are replaced."""
    tiff = bytearray(deflated(rowsperstrip=SIDE_PX))
    with tifffile.TiffFile(io.BytesIO(tiff)) as file:
        offset, count = (file.pages.first.tags[tag].valueoffset for tag in (273, 279))
        code = {3: "<H", 4: "<I"}[file.pages.first.tags[279].dtype]
    struct.pack_into("<I", tiff, offset, len(tiff))
    struct.pack_into(code, tiff, count, len(strip))
    return bytes(tiff) + strip


@pytest.mark.parametrize("n_zeros", [4, 16, 64])
@pytest.mark.parametrize("options", [{"rowsperstrip": 8}, {"tile": (32, 48), "predictor": 2}])
def test_overwritten_data_are_refused(options: dict[str, Any], n_zeros: int) -> None:
    tiff = deflated(**options)
    assert np.array_equal(decode_tile(tiff), EXPECTED)
    with tifffile.TiffFile(io.BytesIO(tiff)) as file:
        page = file.pages.first
        pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    for offset, n_bytes in pieces:
        for at in range(offset + 2, offset + n_bytes - n_zeros, 23):
            changed = tiff[:at] + bytes(n_zeros) + tiff[at + n_zeros :]
            if changed != tiff:
                with pytest.raises(CorruptTileError):
                    decode_tile(changed)


@pytest.mark.parametrize("tail", [b"\0", b"padding"])
def test_bytes_behind_the_data_are_ignored(tail: bytes) -> None:
    data = zlib.compress(picture().tobytes())
    assert np.array_equal(decode_tile(with_strip(data + tail)), EXPECTED)


def test_checksum_that_is_cut_loses_nothing() -> None:
    data = zlib.compress(picture().tobytes())
    assert np.array_equal(decode_tile(with_strip(data[:-4])), EXPECTED)


def test_wrong_checksum_is_refused() -> None:
    data = zlib.compress(picture().tobytes())
    with pytest.raises(CorruptTileError):
        decode_tile(with_strip(data[:-4] + b"abcd"))


def test_last_strip_may_be_filled_up() -> None:
    """Some writers give the last strip as many rows as the others."""
    rows = np.concatenate([picture(), picture()[:16]])
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, rows, photometric="rgb", compression="adobe_deflate", rowsperstrip=40)
    full = bytearray(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(full)) as file:
        height = file.pages.first.tags[257]
    struct.pack_into({3: "<H", 4: "<I"}[height.dtype], full, height.valueoffset, SIDE_PX)
    assert np.array_equal(decode_tile(bytes(full)), EXPECTED)
