"""Low-resolution tiles ("thumbnails") that teach a model and are never tested by a split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.errors import TileError
from app.core.tile import TileLimits, decode_tile
from training.augmentation.low_resolution import enlarge
from training.data.index import Index
from training.data.label_folders import folder_source
from training.data.label_set import LabelSet
from training.data.places import Places
from training.data.tile_names import file_stem_of
from training.data.tiles import Tiles
from training.errors import DataError

_LIMITS: Final = TileLimits(max_bytes=2**30, min_side_px=32)


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Labelled tiles at a low resolution, whose file names follow the collection's pattern.

    Attributes:
        tiles: uint8 `[n, side, side, 3]` RGB, enlarged to the side of the other tiles.
        class_indices: int64 `[n]`, positions of the labels.
        places: slides and cases.
        names: stems of the files.
        sha256s: SHA-256 of each file.
    """

    tiles: NDArray[np.uint8]
    class_indices: NDArray[np.int64]
    places: Places
    names: tuple[str, ...]
    sha256s: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def appended_to(self, tiles: Tiles) -> Tiles:
        """The tiles, then these."""
        return _Appended(tiles, self.tiles)


def read_thumbnails(
    folder: Path, labels: LabelSet, index: Index, low_resolution_px: int, side_px: int
) -> Thumbnails:
    """Read a folder of low-resolution tiles, sorted into folders named after labels.

    Each is reduced to the resolution at which the other tiles are also shown, so that nothing but
    its tissue distinguishes it from them. A thumbnail of an indexed tile is left out.

    Args:
        folder: `LABEL/NAME.png`, where NAME is a tile's name in the collection.
        labels: names of the labels.
        index: the tiles that it supplements.
        low_resolution_px: `augment.low_resolution_px`.
        side_px: side of the tiles, in pixels.

    Raises:
        DataError: the folder or a file cannot be read, or a name or label is unknown.
    """
    indexed = {file_stem_of(tile.name) for tile in index.tiles}
    tiles, classes, names, sha256s = [], [], [], []
    source = folder_source(folder, labels)
    if source.problems:
        path = folder / source.problems[0].where
        raise DataError(f"{path} is not in a folder that is named after a label.")
    for found in source.tiles:
        path = folder / found.name
        name = path.stem
        label = labels.find(found.raw_label)
        if label is None:
            raise DataError(f"{path} is in a folder that is not named after a label.")
        if file_stem_of(name) in indexed:
            continue
        try:
            content = path.read_bytes()
            small = decode_tile(content, _LIMITS, low_resolution_px)
        except (OSError, TileError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        tiles.append(enlarge(small, side_px))
        classes.append(labels.ids.index(label))
        names.append(name)
        sha256s.append(hashlib.sha256(content).hexdigest())
    if not tiles:
        raise DataError(f"{folder} has no thumbnail of a tile that is not in the index.")
    try:
        places = Places.of_names(names)
    except ValueError as error:
        raise DataError(f"{folder}: {error}.") from error
    classes_array = np.array(classes, dtype=np.int64)
    return Thumbnails(np.stack(tiles), classes_array, places, tuple(names), tuple(sha256s))


class _Appended:
    """Tiles, then an array of tiles of the same side."""

    def __init__(self, tiles: Tiles, more: NDArray[np.uint8]) -> None:
        self._tiles, self._more = tiles, more

    def __len__(self) -> int:
        return len(self._tiles) + len(self._more)

    def __getitem__(self, position: int, /) -> NDArray[np.uint8]:
        n_tiles = len(self._tiles)
        tile: NDArray[np.uint8] = (
            self._tiles[position] if position < n_tiles else self._more[position - n_tiles]
        )
        return tile
