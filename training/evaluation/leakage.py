"""How much of what a split tests was seen in training: tissue on both sides of the line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.index import Index
from training.data.overlaps import FOOTPRINTS_PX, overlapping_pairs
from training.data.splits import Fold, Split, fold_positions
from training.errors import SplitError
from training.runs.records import CrossValidation


@dataclass(frozen=True, slots=True)
class Leaks:
    """Over all folds of a split.

    Attributes:
        footprint_px: side of a tile in the pixels of its name.
        n_pairs: pairs of overlapping tiles, one trained on and one tested.
        n_leaked: tested tiles that overlap a tile that was trained on.
        n_tested: tested tiles.
    """

    footprint_px: int
    n_pairs: int
    n_leaked: int
    n_tested: int

    def __str__(self) -> str:
        """`N of M tested tiles overlap a training tile (P pairs) at F px a tile`."""
        return (
            f"{self.n_leaked} of {self.n_tested} tested tiles overlap a training tile "
            f"({self.n_pairs} pairs) at {self.footprint_px} px a tile"
        )


def find_leaks(index: Index, split: Split, footprint_px: int) -> Leaks:
    """Count what a split leaks; nothing, where it goes by slide or by patient.

    Args:
        index: the tiles.
        split: a split of it.
        footprint_px: side of a tile in the pixels of its name.
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
    """Refuse a split that leaks.

    Raises:
        SplitError: a tested tile overlaps a training tile.
    """
    leaks = find_leaks(index, split, footprint_px)
    if leaks.n_pairs > 0:
        raise SplitError(
            f"{leaks}. Take --overlaps repair, which keeps overlapping tiles together, or split "
            "by slide."
        )


def leaks_of(index: Index, run: CrossValidation) -> list[Leaks]:
    """What the split under a run leaks, at every candidate footprint."""
    names = {fold: [a.tile for a in run.answers if a.fold == fold] for fold in run.folds}
    folds = tuple(Fold(name=fold, test=tuple(tested)) for fold, tested in names.items())
    split = Split(kind=run.kind, seed=None, index_sha256=run.index_sha256, folds=folds)
    return [find_leaks(index, split, footprint_px) for footprint_px in FOOTPRINTS_PX]
