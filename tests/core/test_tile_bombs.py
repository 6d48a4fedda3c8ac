"""Files that would take far more memory or time than their size suggests are rejected unread."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from app.core.tile import TileLimits, decode_tile
from app.core.tile_errors import TooManyPixelsError, TooManyScansError
from tests.bundles import plain_tile
from tests.core.test_tile import gradient


def png_bomb(side_px: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(100_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def jpeg_bomb(side_px: int) -> bytes:
    jpeg = bytearray(plain_tile((9, 9, 9), 64, "JPEG"))
    struct.pack_into(">HH", jpeg, jpeg.index(b"\xff\xc0") + 5, side_px, side_px)
    return bytes(jpeg)


def tiff_bomb(side_px: int) -> bytes:
    tiff = bytearray(plain_tile((9, 9, 9), 64, "TIFF"))
    (directory,) = struct.unpack_from("<I", tiff, 4)
    (n_tags,) = struct.unpack_from("<H", tiff, directory)
    for i in range(n_tags):
        offset = directory + 2 + 12 * i
        (tag,) = struct.unpack_from("<H", tiff, offset)
        if tag in {256, 257}:  # ImageWidth, ImageLength
            struct.pack_into("<HHII", tiff, offset, tag, 4, 1, side_px)
    return bytes(tiff)


def webp_bomb(side_px: int) -> bytes:
    payload = plain_tile((9, 9, 9), 64, "WEBP")[12:]
    canvas = (side_px - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + canvas + payload
    return b"RIFF" + struct.pack("<I", len(body)) + body


BOMBS = {
    "png": png_bomb(50_000),
    "jpeg": jpeg_bomb(50_000),
    "tiff": tiff_bomb(50_000),
    "webp": webp_bomb(16_383),
    "png below Pillow's own limit": png_bomb(6_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_rejected_by_its_header(name: str) -> None:
    with pytest.raises(TooManyPixelsError) as caught:
        decode_tile(BOMBS[name])
    assert caught.value.limit_pixels == TileLimits().max_pixels


def test_bombs_allocate_no_pixels(tmp_path: Path) -> None:
    for i, bomb in enumerate(BOMBS.values()):
        (tmp_path / str(i)).write_bytes(bomb)
    # In a new process, because other tests have already raised this one's peak.
    program = (
        "import pathlib, resource, sys\n"
        "from app.core.tile_errors import TooManyPixelsError\n"
        "from app.core.tile import decode_tile\n"
        "from PIL import Image; Image.init()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for file in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    try: decode_tile(file.read_bytes())\n"
        "    except TooManyPixelsError: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True
    )
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    assert int(run.stdout) * unit_bytes < 16 * 1024**2, "a bomb of 7 GB of pixels was decoded"


def test_jpeg_with_too_many_scans_is_rejected() -> None:
    buffer = io.BytesIO()
    Image.fromarray(gradient(512, 512)).save(buffer, "JPEG", progressive=True)
    jpeg = buffer.getvalue()
    assert decode_tile(jpeg).shape == (224, 224, 3)
    end = jpeg.rindex(b"\xff\xd9")
    last_scan = jpeg[jpeg.rindex(b"\xff\xda") : end]
    with pytest.raises(TooManyScansError) as caught:
        decode_tile(jpeg[:end] + last_scan * 100 + jpeg[end:])
    assert caught.value.limit_scans == 100
