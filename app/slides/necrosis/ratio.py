"""The share of dead tumour on a slide or a specimen, and how far the truth may be from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.errors import counted
from app.core.manifest import Manifest
from app.slides.necrosis.block_bootstrap import (
    BLOCK_SIDE,
    LEVEL,
    MIN_BLOCKS,
    N_DRAWS,
    CountedTiles,
    bootstrap_ratio,
    draw_shares,
)
from app.slides.necrosis.confusion_interval import confusion_interval
from app.slides.necrosis.huvos import dead_slide_bias, huvos_group
from app.slides.necrosis.viability import (
    KIND_NAMES,
    MEASURED_ON,
    N_KINDS,
    Confusions,
    Kind,
    missing_labels_reason,
    viability_of,
)
from app.slides.results import Necrosis, RatioInterval
from app.slides.tile_rows import TileRow

_EDGE: Final = 1e-6


def necrosis_of(
    rows: Sequence[TileRow], manifest: Manifest, tile_area_mm2: float, min_tumor_mm2: float
) -> Necrosis:
    """The ratio of one slide, its intervals and its Huvos group.

    Tiles that could not be read, and those that are blank, not tissue or out of distribution, do
    not count.

    Args:
        rows: the classified tiles, in any order.
        manifest: of the model that classified them.
        tile_area_mm2: area of one tile, in square millimetres, above 0.
        min_tumor_mm2: area of tumour below which there is no ratio, in square millimetres.
    """
    viability = viability_of(manifest)
    if viability is None:
        return _without_labels(rows, manifest, tile_area_mm2, min_tumor_mm2)
    tiles = counted_tiles(rows, viability.kinds, tile_area_mm2)
    return necrosis_of_slides([tiles], viability.confusions, min_tumor_mm2)


def necrosis_of_slides(
    slides: Sequence[CountedTiles], confusions: Confusions, min_tumor_mm2: float
) -> Necrosis:
    """The ratio over one or several slides: sums of areas, each slide's blocks drawn within it.

    Args:
        slides: the tiles that count.
        confusions: how often the model took one kind of tissue for another.
        min_tumor_mm2: area of tumour below which there is no ratio, in square millimetres.
    """
    n_tiles = sum(
        (np.bincount(tiles.kinds, minlength=N_KINDS) for tiles in slides), np.zeros(N_KINDS, int)
    )
    blocks = [tiles.blocks() for tiles in slides]
    areas = sum((one.sum(axis=0) for one in blocks), np.zeros(N_KINDS))
    tumor_mm2 = float(areas[Kind.NON_VIABLE] + areas[Kind.VIABLE])
    is_enough = tumor_mm2 > 0 and tumor_mm2 >= min_tumor_mm2
    ratio = float(areas[Kind.NON_VIABLE] / tumor_mm2) if is_enough else None
    intervals = [] if ratio is None else _intervals(blocks, ratio, confusions)
    group, reason = huvos_group(intervals)
    if ratio is None:
        reason = _too_little(tumor_mm2, min_tumor_mm2)
    return Necrosis(
        ratio=ratio,
        n_viable=int(n_tiles[Kind.VIABLE]),
        n_non_viable=int(n_tiles[Kind.NON_VIABLE]),
        n_non_tumor=int(n_tiles[Kind.OTHER]),
        tumor_area_mm2=tumor_mm2,
        min_area_mm2=min_tumor_mm2,
        intervals=intervals,
        huvos_group=group,
        reason=reason,
        bias=dead_slide_bias(confusions),
        confusions=confusions,
    )


def counted_tiles(
    rows: Sequence[TileRow], kinds: NDArray[np.int64], tile_area_mm2: float
) -> CountedTiles:
    """The tiles that count towards the ratio.

    Args:
        rows: the classified tiles.
        kinds: int64 `[C]`, the kind of each label, in the order of the probabilities.
        tile_area_mm2: area of one tile.
    """
    places = [
        (row.column, row.row, row.class_index)
        for row in rows
        if row.class_index is not None and row.excluded_by is None
    ]
    columns, grid_rows, labels = np.array(places, dtype=np.int64).reshape(-1, 3).T
    return CountedTiles(columns, grid_rows, kinds[labels], tile_area_mm2)


def _intervals(
    blocks: Sequence[NDArray[np.float64]], ratio: float, confusions: Confusions
) -> list[RatioInterval]:
    found = bootstrap_ratio(blocks)
    intervals = [
        RatioInterval(
            method="block_bootstrap",
            level=LEVEL,
            low=found.low,
            high=found.high,
            detail=_bootstrap_detail(found.n_blocks),
        )
    ]
    shares = draw_shares(blocks)
    for method, confusion in confusions.items():
        low, high = confusion_interval(shares, confusion)
        tiles = [
            f"{sum(counts)} of {name}" for counts, name in zip(confusion, KIND_NAMES, strict=True)
        ]
        intervals.append(
            RatioInterval(
                method=method,
                level=LEVEL,
                # If nearly all draws lie on an edge, the interval has no width, though both kinds
                # were answered: it then reaches to the ratio of the answers.
                low=min(low, ratio) if low >= 1 - _EDGE else low,
                high=max(high, ratio) if high <= _EDGE else high,
                detail="The answers, corrected by the model's errors on "
                f"{MEASURED_ON[method]} (tiles: {', '.join(tiles)}). It allows for the small "
                "number of these tiles and for the blocks that the slide happens to have.",
            )
        )
    return intervals


def _bootstrap_detail(n_blocks: int) -> str:
    blocks = f"{counted(n_blocks, 'block')} of {BLOCK_SIDE} x {BLOCK_SIDE} tiles with tumour"
    if n_blocks < MIN_BLOCKS:
        return f"{blocks}: too little tissue to say more."
    return f"{blocks}, drawn with replacement {N_DRAWS} times. It takes every answer as right."


def _too_little(tumor_mm2: float, min_tumor_mm2: float) -> str:
    return (
        f"{tumor_mm2:.1f} mm2 of tumour were found; a ratio needs at least {min_tumor_mm2:g} mm2."
    )


def _without_labels(
    rows: Sequence[TileRow], manifest: Manifest, tile_area_mm2: float, min_tumor_mm2: float
) -> Necrosis:
    """The answer for a model that does not tell dead from viable tumour."""
    is_tumor = [label.is_tumor for label in manifest.labels]
    found = [
        is_tumor[row.class_index]
        for row in rows
        if row.class_index is not None and row.excluded_by is None
    ]
    return Necrosis(
        ratio=None,
        n_viable=0,
        n_non_viable=0,
        n_non_tumor=found.count(False),
        tumor_area_mm2=found.count(True) * tile_area_mm2,
        min_area_mm2=min_tumor_mm2,
        intervals=[],
        huvos_group="undetermined",
        reason=missing_labels_reason(manifest),
    )
