"""An index with its tiles, which every step after indexing needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.data.index import Index
from training.data.tiles import Tiles


@dataclass(frozen=True, slots=True)
class LabelledTiles:
    """An index and the tiles it lists.

    Attributes:
        index: names, labels and slides.
        index_sha256: SHA-256 of the index file.
        data_dir: the collection.
        tiles: uint8 `[side, side, 3]` by position, in the order of the index: an array or a
            stream of files.
    """

    index: Index
    index_sha256: str
    data_dir: Path
    tiles: Tiles
