"""How predictions change under compression, rotation, light, stain, resampling and dust."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from PIL import Image, ImageOps

from app.core.tile import TileLimits, decode_tile
from training.augmentation.stain_separation import scale_stains
from training.data.index import IndexedTile, read_tile_file
from training.errors import DataError
from training.reliability.predictor import Predictor
from training.storage.frozen_model import FrozenModel

# The index has checked the tiles; resampled ones may exceed the limits of an upload.
_LIMITS: Final = TileLimits(max_bytes=2**30, max_pixels=2**30, min_side_px=1)
_SPECK_SIDES_PX: Final = (4, 8, 16)
"""Sides of the black squares, in pixels of the tile's file."""
_DUSTY_QUALITY: Final = 95
Change = Callable[[Image.Image], bytes]
"""Turns the full-size RGB image of a tile into the file that a client might send instead."""


class Robustness(FrozenModel):
    """Effect of one change on the predictions.

    Attributes:
        unchanged: share of tiles with the same predicted label, in [0, 1].
        mean_difference: mean absolute change of the probability of the label predicted first.
        max_difference: the largest such change.
    """

    change: str
    n_tiles: int
    unchanged: float
    mean_difference: float
    max_difference: float


def read_files(tiles: Iterable[IndexedTile], data_dir: Path) -> Iterator[bytes]:
    """Yield the content of each tile's file; see `read_tile_file`."""
    for tile in tiles:
        yield read_tile_file(tile, data_dir)


def _encoded(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, **options)
    return stream.getvalue()


def _lossless(image: Image.Image) -> bytes:
    return _encoded(image, format="PNG", compress_level=0)


def _jpeg(quality: int, image: Image.Image) -> bytes:
    return _encoded(image, format="JPEG", quality=quality)


def _transposed(how: Image.Transpose, image: Image.Image) -> bytes:
    return _lossless(image.transpose(how))


def _brightened(factor: float, image: Image.Image) -> bytes:
    return _lossless(image.point(lambda level: min(round(level * factor), 255)))


def _resampled(factor: float, image: Image.Image) -> bytes:
    width, height = (round(length * factor) for length in image.size)
    return _lossless(image.resize((width, height), Image.Resampling.LANCZOS))


def _with_speck(side_px: int, image: Image.Image) -> bytes:
    """Cover a square in the middle with black, as a speck of dust does.

    The file is a JPEG of high quality, because a lossless one is reduced in another way than the
    original, and that alone changes probabilities more than a small speck does.
    """
    left, top = ((length - side_px) // 2 for length in image.size)
    dusty = image.copy()
    dusty.paste((0, 0, 0), (left, top, left + side_px, top + side_px))
    return _jpeg(_DUSTY_QUALITY, dusty)


def _stained(haematoxylin: float, eosin: float, image: Image.Image) -> bytes:
    tile = scale_stains(np.asarray(image), haematoxylin, eosin)
    return _lossless(Image.fromarray(tile))


CHANGES: Final[Mapping[str, Change]] = MappingProxyType(
    {"lossless copy": _lossless}
    | {f"JPEG quality {quality}": partial(_jpeg, quality) for quality in (95, 85, 70, 50, 30)}
    | {
        "turned by 90 degrees": partial(_transposed, Image.Transpose.ROTATE_90),
        "turned by 180 degrees": partial(_transposed, Image.Transpose.ROTATE_180),
        "turned by 270 degrees": partial(_transposed, Image.Transpose.ROTATE_270),
        "flipped left to right": partial(_transposed, Image.Transpose.FLIP_LEFT_RIGHT),
        "flipped top to bottom": partial(_transposed, Image.Transpose.FLIP_TOP_BOTTOM),
        "brightness -10 %": partial(_brightened, 0.9),
        "brightness +10 %": partial(_brightened, 1.1),
        "haematoxylin -20 %": partial(_stained, 0.8, 1.0),
        "haematoxylin +20 %": partial(_stained, 1.2, 1.0),
        "eosin -20 %": partial(_stained, 1.0, 0.8),
        "eosin +20 %": partial(_stained, 1.0, 1.2),
        "resampled to 150 %": partial(_resampled, 1.5),
        "resampled to 50 %": partial(_resampled, 0.5),
        "resampled to 25 %": partial(_resampled, 0.25),
    }
    | {f"dark speck of {side_px} px": partial(_with_speck, side_px) for side_px in _SPECK_SIDES_PX}
)


def measure_robustness(
    predictor: Predictor, files: Iterable[bytes], side_px: int
) -> tuple[Robustness, ...]:
    """Compare the predictions on changed tiles with those on the original files.

    Args:
        predictor: runs the bundle.
        files: encoded tiles.
        side_px: side of the model's input.

    Returns:
        One entry for each of `CHANGES`.

    Raises:
        DataError: there are no files.
    """
    pairs = []
    for content in files:
        # Changed copies have no EXIF data, so the EXIF orientation must be applied first.
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
        changed = [change(image) for change in CHANGES.values()]
        tiles = [decode_tile(file, _LIMITS, side_px) for file in (content, *changed)]
        probabilities = predictor.probabilities(np.stack(tiles))
        pairs.append((probabilities, int(probabilities[0].argmax())))
    if not pairs:
        raise DataError("The index lists no tiles, so there is nothing to measure.")
    measured = []
    for i, name in enumerate(CHANGES, start=1):
        differences = [abs(float(rows[i, label] - rows[0, label])) for rows, label in pairs]
        measured.append(
            Robustness(
                change=name,
                n_tiles=len(pairs),
                unchanged=float(np.mean([rows[i].argmax() == label for rows, label in pairs])),
                mean_difference=float(np.mean(differences)),
                max_difference=max(differences),
            )
        )
    return tuple(measured)
