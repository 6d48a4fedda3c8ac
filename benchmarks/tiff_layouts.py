"""Whether a tile reads alike from every layout of a TIFF, and what it costs.

.venv/bin/python -m benchmarks.tiff_layouts TILE.jpg [TILE.jpg ...]
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from app.core.tile import decode_tile
from training.console.markdown import markdown_table

_TILES: Final = {"tile": (256, 256)}
_PLANES: Final = {"planarconfig": "separate"}
LAYOUTS: Final[dict[str, dict[str, Any]]] = {
    "8-bit, strips": {"rowsperstrip": 16},
    "8-bit, planes": _PLANES,
    "8-bit, PackBits": {"compression": "packbits"},
    "8-bit, Zstandard, tiles": {"compression": "zstd", **_TILES},
    "8-bit, big-endian BigTIFF": {"bigtiff": True, "byteorder": ">"},
    "16-bit, planes": _PLANES,
    "16-bit, big-endian": {"byteorder": ">"},
    "16-bit, LZW, predictor, tiles": {"compression": "lzw", "predictor": 2, **_TILES},
    "16-bit, Deflate, predictor, planes": {"compression": "zlib", "predictor": 2, **_PLANES},
    "JPEG of quality 95, tiles": {
        "compression": "jpeg",
        "compressionargs": {"level": 95},
        **_TILES,
    },
}


def main(files: list[str]) -> None:
    """Print the largest difference from the same pixels as PNG, and the processor time."""
    rows = []
    for name, options in LAYOUTS.items():
        measured = [_compare(Path(file), options, wide=name.startswith("16")) for file in files]
        difference, seconds = (np.array(column) for column in zip(*measured, strict=True))
        rows.append([name, f"{difference.max():.0f}", f"{1000 * np.median(seconds):.1f}"])
    header = ["layout", "largest difference, grey levels", "ms a tile"]
    sys.stdout.write(markdown_table(header, rows) + "\n")


def _compare(file: Path, options: dict[str, Any], *, wide: bool) -> tuple[float, float]:
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"))
    png, tiff = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG", compress_level=1)
    tifffile.imwrite(tiff, _stored(pixels, options, wide), photometric="rgb", **options)
    before = time.process_time()
    tile = decode_tile(tiff.getvalue())
    seconds = time.process_time() - before
    expected = decode_tile(png.getvalue()).astype(int)
    return float(np.abs(tile - expected).max()), seconds


def _stored(pixels: NDArray[np.uint8], options: dict[str, Any], wide: bool) -> NDArray[Any]:
    samples = pixels.astype(np.uint16) * 257 if wide else pixels
    return (
        np.ascontiguousarray(samples.transpose(2, 0, 1)) if "planarconfig" in options else samples
    )


if __name__ == "__main__":
    main(sys.argv[1:])
