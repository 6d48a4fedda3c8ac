"""Slides and cases of tiles, and what may teach a fold without leaking into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.index import Index
from training.data.tile_names import parse_tile_name


@dataclass(frozen=True, slots=True)
class Places:
    """Names of the slide and the case of each tile, `[n]`."""

    slides: NDArray[np.str_]
    cases: NDArray[np.str_]

    @classmethod
    def of(cls, index: Index) -> Places:
        """The places of an index; a tile whose slide or case is unknown has its own."""
        return cls(
            np.array([tile.slide or tile.name for tile in index.tiles]),
            np.array([tile.case or tile.name for tile in index.tiles]),
        )

    @classmethod
    def of_names(cls, names: Sequence[str]) -> Places:
        """The places that names of the collection say.

        Raises:
            ValueError: a name does not follow the pattern.
        """
        parsed = [parse_tile_name(name) for name in names]
        return cls(
            np.array([name.slide for name in parsed]), np.array([name.case for name in parsed])
        )

    def followed_by(self, others: Places) -> Places:
        """These places, then others."""
        return Places(
            np.concatenate([self.slides, others.slides]), np.concatenate([self.cases, others.cases])
        )

    def may_teach(self, tiles: Places, train: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these supplements leak nothing into a fold, bool `[n]`.

        A supplement is a low-resolution tile or a table row. It teaches if some tile of its case
        does, and if no tile of its slide is kept from the fold, in whatever part of a nested split
        that tile is.

        Args:
            tiles: the places of all tiles of the index.
            train: positions of the tiles that the fold trains on, int64 `[n_train]`.
        """
        kept_away = np.delete(tiles.slides, train)
        allowed: NDArray[np.bool_] = np.isin(self.cases, tiles.cases[train]) & ~np.isin(
            self.slides, kept_away
        )
        return allowed
