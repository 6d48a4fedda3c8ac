"""How many test tiles of a split share tissue with its training tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.console.plural import plural
from training.data.index import Index
from training.data.overlaps import overlapping_pairs
from training.data.splits import Split, fold_positions, require_corners
from training.errors import SplitError


@dataclass(frozen=True, slots=True)
class Leaks:
    """Leaks over all folds of a split.

    Attributes:
        footprint_px: side of a tile in the pixels of its name.
        n_pairs: overlapping pairs of a training tile and a test tile.
        n_leaked: test tiles that overlap a training tile.
        n_tested: test tiles.
    """

    footprint_px: int
    n_pairs: int
    n_leaked: int
    n_tested: int

    def __str__(self) -> str:
        """`N of M tested tiles overlap a training tile (P pairs) at F px a tile`."""
        return (
            f"{self.n_leaked} of {self.n_tested} tested tiles overlap a training tile "
            f"({plural(self.n_pairs, 'pair')}) at {self.footprint_px} px a tile"
        )


def find_leaks(index: Index, split: Split, footprint_px: int) -> Leaks:
    """Count the leaks of a split of this index; a split by slide or by patient has none.

    Tiles whose slide or corner is unknown are not counted; see `Index.knows_corners`.
    """
    pairs = overlapping_pairs(index.tiles, footprint_px)
    n_pairs = n_leaked = n_tested = 0
    for fold in split.folds:
        _, test = fold_positions(index, fold)
        is_tested = np.zeros(len(index.tiles), dtype=bool)
        is_tested[test] = True
        sides = is_tested[pairs]
        across = pairs[sides[:, 0] != sides[:, 1]]
        n_pairs += len(across)
        n_leaked += len(np.unique(across[is_tested[across]]))
        n_tested += len(test)
    return Leaks(footprint_px, n_pairs, n_leaked, n_tested)


def require_no_leaks(index: Index, split: Split, footprint_px: int) -> None:
    """Reject a split that leaks.

    Raises:
        SplitError: a test tile overlaps a training tile, or overlaps cannot be found.
    """
    require_corners(index)
    leaks = find_leaks(index, split, footprint_px)
    if leaks.n_pairs > 0:
        raise SplitError(
            f"{leaks}. Use --overlaps repair, which keeps overlapping tiles together, or split by "
            "slide."
        )
