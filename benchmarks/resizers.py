"""How much other ways to prepare a tile change its probabilities; see docs/bundle.md.

.venv/bin/python -m benchmarks.resizers models/osteo-mobilenetv2/4 TILE.jpg [TILE.jpg ...]
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.bundle import open_bundle
from app.core.tile import decode_tile
from training.reliability.predictor import Predictor

Tile = NDArray[np.uint8]
Prepare = Callable[[bytes, int], Tile]
"""From an encoded tile and the model's side to uint8 `[side, side, 3]` RGB."""


def _ours(content: bytes, side_px: int) -> Tile:
    return decode_tile(content, side_px=side_px)


def _reduced(content: bytes, side_px: int) -> Tile:
    image = Image.open(io.BytesIO(content))
    image.draft("RGB", (side_px, side_px))
    return _pillow_resize(image.convert("RGB"), side_px, Image.Resampling.BICUBIC, 2.0)


def _whole(
    content: bytes, side_px: int, method: Image.Resampling, reducing_gap: float | None = None
) -> Tile:
    image = Image.open(io.BytesIO(content)).convert("RGB")
    return _pillow_resize(image, side_px, method, reducing_gap)


def _pillow_resize(
    image: Image.Image, side_px: int, method: Image.Resampling, reducing_gap: float | None
) -> Tile:
    return np.asarray(image.resize((side_px, side_px), method, reducing_gap=reducing_gap))


def _area(content: bytes, side_px: int) -> Tile:
    """The mean of the area that each pixel covers, as OpenCV's INTER_AREA computes it."""
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=np.float64)
    n = pixels.shape[0]
    starts = np.arange(side_px)[:, None] * n / side_px
    cells = np.arange(n)[None]
    covered = np.minimum(cells + 1, starts + n / side_px) - np.maximum(cells, starts)
    weights = np.clip(covered, 0, None) * side_px / n
    channels = [weights @ pixels[..., c] @ weights.T for c in range(3)]
    return _to_levels(np.stack(channels, axis=-1))


def _tensorflow(content: bytes, side_px: int, method: str, antialias: bool) -> Tile:
    import tensorflow as tf

    pixels = tf.io.decode_jpeg(content, channels=3)
    resized: Any = tf.image.resize(pixels, (side_px, side_px), method=method, antialias=antialias)
    return _to_levels(resized.numpy())


def _to_levels(values: NDArray[np.floating]) -> Tile:
    levels: Tile = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels


_PILLOW: Final = Image.Resampling
WAYS: Final[Mapping[str, Prepare]] = {
    "this service; `osteo-train prepare`": _ours,
    "Pillow, `draft`, bicubic, `reducing_gap=2.0` (the code above)": _reduced,
    "Pillow, bicubic, `reducing_gap=2.0`": partial(
        _whole, method=_PILLOW.BICUBIC, reducing_gap=2.0
    ),
    "Pillow, bicubic": partial(_whole, method=_PILLOW.BICUBIC),
    "Pillow, bilinear": partial(_whole, method=_PILLOW.BILINEAR),
    "Pillow, nearest": partial(_whole, method=_PILLOW.NEAREST),
    "area, as OpenCV's `INTER_AREA`": _area,
    "TensorFlow, bilinear": partial(_tensorflow, method="bilinear", antialias=False),
    "TensorFlow, bicubic": partial(_tensorflow, method="bicubic", antialias=False),
    "TensorFlow, bilinear, `antialias=True`": partial(
        _tensorflow, method="bilinear", antialias=True
    ),
    "TensorFlow, bicubic, `antialias=True`": partial(_tensorflow, method="bicubic", antialias=True),
}


def measure(bundle_dir: Path, files: list[Path]) -> list[str]:
    """Rows of a Markdown table: the way, then what it does to the probabilities of the tiles.

    That is the probability of the label that our way predicts for the first tile, and the mean and
    largest change of a probability over all tiles.
    """
    manifest = open_bundle(bundle_dir.resolve()).manifest
    contents = [file.read_bytes() for file in files]
    rows = []
    with Predictor(bundle_dir / "model.tflite", manifest.temperature) as predictor:
        ours = predictor.probabilities(_stack(_ours, contents, manifest.input.side_px))
        for name, prepare in WAYS.items():
            tiles = _stack(prepare, contents, manifest.input.side_px)
            found = predictor.probabilities(tiles)
            changes = np.abs(found - ours).max(axis=1)
            first = found[0, ours[0].argmax()]
            rows.append(f"| {name} | {first:.4f} | {changes.mean():.3f} | {changes.max():.3f} |")
    return rows


def _stack(prepare: Prepare, contents: list[bytes], side_px: int) -> Tile:
    return np.stack([prepare(content, side_px) for content in contents])


if __name__ == "__main__":
    print("\n".join(measure(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])))
