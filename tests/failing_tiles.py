"""One file for each problem that a tile can have with the default settings."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

from app.core.formats.png import MAX_CHUNKS
from app.core.tile import DEFAULT_LIMITS
from tests.bundles import plain_tile
from tests.core.formats.files import before_image_data, encoded
from tests.encoders import jpeg, png_chunk, strips, tiff, tiff_tags

_PINK: Final = (221, 160, 221)
_FRAMES: Final = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]


def _with_many_scans() -> bytes:
    progressive = jpeg(512, progressive=True)
    end = progressive.rindex(b"\xff\xd9")
    last_scan = progressive[progressive.rindex(b"\xff\xda") : end]
    return progressive[:end] + last_scan * 100 + progressive[end:]


FAILING_TILES: Final[dict[str, bytes]] = {
    "empty-tile": b"",
    "tile-too-large": bytes(DEFAULT_LIMITS.max_bytes + 1),
    "too-many-pixels": tiff({**tiff_tags(8192, 8192), **strips(8192, [8], [8])}, bytes(8)),
    "tile-too-small": plain_tile(_PINK, 32),
    "too-many-frames": encoded("WEBP", _FRAMES[0], save_all=True, append_images=_FRAMES[1:]),
    "unsupported-format": b"not an image",
    "too-many-scans": _with_many_scans(),
    "too-many-segments": before_image_data(plain_tile(_PINK), png_chunk(b"teSt", b"") * MAX_CHUNKS),
    "decode-budget": tiff(
        {**tiff_tags(4096, 4096, 8), **strips(1, [8] * 4096, [100_000] * 4096)}, bytes(100_000)
    ),
    "unsupported-pixels": encoded("TIFF", Image.fromarray(np.zeros((64, 64), np.float32))),
    "corrupt-tile": plain_tile(_PINK)[:200],
}
