"""What became of the tiles of a slide's grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from app.slides.results import TileCounts
from app.slides.tile_rows import EXCLUDING_REASONS, TileRow


def count_tiles(rows: Sequence[TileRow], n_grid: int, n_tissue: int) -> TileCounts:
    """Count classified, unreadable, excluded and counted tiles.

    Args:
        rows: of the tiles that were classified or could not be read.
        n_grid: tiles of the grid, glass included.
        n_tissue: tiles with enough tissue to be classified.
    """
    classified = [row for row in rows if row.probabilities]
    found = Counter(row.excluded_by for row in classified)
    excluded = {reason.value: found[reason] for reason in EXCLUDING_REASONS}
    return TileCounts(
        n_grid=n_grid,
        n_tissue=n_tissue,
        n_classified=len(classified),
        n_unreadable=len(rows) - len(classified),
        n_review=sum(1 for row in classified if row.reasons),
        n_counted=found[None],
        excluded=excluded,
        excluded_share={
            reason: number / max(len(classified), 1) for reason, number in excluded.items()
        },
    )
