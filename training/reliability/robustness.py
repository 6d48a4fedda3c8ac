"""How much an answer changes when nothing of the tissue does: compression, turns, light, stain."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict

from app.core.tile import TileLimits, decode_tile
from training.augmentation.stain_separation import scale_stains
from training.data.index import IndexedTile
from training.errors import DataError
from training.reliability.predictor import Predictor

# Tiles were checked by the index; resampled ones may be larger or smaller than an upload may.
_LIMITS: Final = TileLimits(max_bytes=2**30, max_pixels=2**30, min_side_px=1)
Change = Callable[[Image.Image], bytes]
"""From a tile's full-size picture (RGB) to the file that a client might send instead."""


class Robustness(BaseModel):
    """What one change did to the answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    change: str
    n_tiles: int
    unchanged: float
    mean_difference: float
    max_difference: float


def read_files(tiles: Iterable[IndexedTile], data_dir: Path) -> Iterator[bytes]:
    """The files of indexed tiles, one after the other.

    Raises:
        DataError: a file cannot be read, or is not the one that was indexed.
    """
    for tile in tiles:
        file = data_dir / tile.file
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DataError(f"{file}: {error.strerror}.") from error
        if hashlib.sha256(content).hexdigest() != tile.sha256:
            raise DataError(
                f"{file} is not the file that was indexed. Make the index again with "
                "'osteo-train index'."
            )
        yield content


def _lossless(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG", compress_level=0)
    return stream.getvalue()


def _jpeg(quality: int, picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=quality)
    return stream.getvalue()


def _turned(how: Image.Transpose, picture: Image.Image) -> bytes:
    return _lossless(picture.transpose(how))


def _lit(factor: float, picture: Image.Image) -> bytes:
    return _lossless(picture.point(lambda level: min(round(level * factor), 255)))


def _resampled(factor: float, picture: Image.Image) -> bytes:
    width, height = (round(length * factor) for length in picture.size)
    return _lossless(picture.resize((width, height), Image.Resampling.LANCZOS))


def _stained(haematoxylin: float, eosin: float, picture: Image.Image) -> bytes:
    tile = scale_stains(np.asarray(picture), haematoxylin, eosin)
    return _lossless(Image.fromarray(tile))


CHANGES: Final[Mapping[str, Change]] = MappingProxyType(
    {"lossless copy": _lossless}
    | {f"JPEG quality {quality}": partial(_jpeg, quality) for quality in (95, 85, 70, 50, 30)}
    | {
        "turned by 90 degrees": partial(_turned, Image.Transpose.ROTATE_90),
        "turned by 180 degrees": partial(_turned, Image.Transpose.ROTATE_180),
        "turned by 270 degrees": partial(_turned, Image.Transpose.ROTATE_270),
        "flipped left to right": partial(_turned, Image.Transpose.FLIP_LEFT_RIGHT),
        "flipped top to bottom": partial(_turned, Image.Transpose.FLIP_TOP_BOTTOM),
        "brightness -10 %": partial(_lit, 0.9),
        "brightness +10 %": partial(_lit, 1.1),
        "haematoxylin -20 %": partial(_stained, 0.8, 1.0),
        "haematoxylin +20 %": partial(_stained, 1.2, 1.0),
        "eosin -20 %": partial(_stained, 1.0, 0.8),
        "eosin +20 %": partial(_stained, 1.0, 1.2),
        "resampled to 150 %": partial(_resampled, 1.5),
        "resampled to 50 %": partial(_resampled, 0.5),
        "resampled to 25 %": partial(_resampled, 0.25),
    }
)


def measure_robustness(
    predictor: Predictor, files: Iterable[bytes], side_px: int
) -> tuple[Robustness, ...]:
    """Change every tile in every way and hold the answers against those to the files as they are.

    Args:
        predictor: the bundle.
        files: encoded tiles.
        side_px: of the model's input.

    Returns:
        One entry a change: share of predictions unchanged, mean and largest difference of the
        probability of the label that was predicted first.

    Raises:
        DataError: there are no files.
    """
    unchanged: dict[str, list[bool]] = {name: [] for name in CHANGES}
    differences: dict[str, list[float]] = {name: [] for name in CHANGES}
    for content in files:
        # Changed copies carry no EXIF, so the picture must stand as its orientation says.
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
        changed = [change(picture) for change in CHANGES.values()]
        tiles = [decode_tile(file, _LIMITS, side_px) for file in (content, *changed)]
        probabilities = predictor.probabilities(np.stack(tiles))
        label = int(probabilities[0].argmax())
        for name, row in zip(CHANGES, probabilities[1:], strict=True):
            unchanged[name].append(int(row.argmax()) == label)
            differences[name].append(abs(float(row[label] - probabilities[0, label])))
    if not all(unchanged.values()):
        raise DataError("The index lists no tiles, so there is nothing to measure.")
    return tuple(
        Robustness(
            change=name,
            n_tiles=len(unchanged[name]),
            unchanged=float(np.mean(unchanged[name])),
            mean_difference=float(np.mean(differences[name])),
            max_difference=float(np.max(differences[name])),
        )
        for name in CHANGES
    )
