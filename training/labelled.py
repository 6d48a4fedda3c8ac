"""Tiles with their labels, as every step after indexing needs them together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.index import Index


@dataclass(frozen=True, slots=True)
class LabelledTiles:
    """An index and the tiles it lists.

    Attributes:
        index: names, labels, slides.
        index_sha256: SHA-256 of the index file.
        data_dir: where the files lie.
        tiles: uint8 `[n, side, side, 3]`, decoded, in the order of the index.
    """

    index: Index
    index_sha256: str
    data_dir: Path
    tiles: NDArray[np.uint8]
