"""The columns of the collection's feature table that measure a tile, and those that do not.

The authors of the collection (doi:10.7937/tcia.2019.bvhjhdas) publish one row for each tile:
counts of colours and clusters, the nuclei that CellProfiler found, and CellProfiler's texture
measures (Haralick et al. 1973, doi:10.1109/TSMC.1973.4309314) at an offset of 3 px.
"""

from __future__ import annotations

from typing import Final

_DIRECTIONS: Final = ("0", "135", "45", "90")
"""Degrees, in the order of the table."""
_BEFORE_GABOR: Final = (
    *("AngularSecondMoment", "Contrast", "Correlation", "DifferenceEntropy"),
    *("DifferenceVariance", "Entropy"),
)
_AFTER_GABOR: Final = (
    *("InfoMeas1", "InfoMeas2", "InverseDifferenceMoment", "SumAverage", "SumEntropy"),
    *("SumVariance", "Variance"),
)


def _in_every_direction(measures: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"Texture_{name}_3_{angle}" for name in measures for angle in _DIRECTIONS)


TEXTURE_COLUMNS: Final = (
    *_in_every_direction(_BEFORE_GABOR),
    "Texture_Gabor_3",
    *_in_every_direction(_AFTER_GABOR),
)
"""13 measures in four directions, and Gabor."""
COUNT_COLUMNS: Final = (
    *("Blue_count", "red_count", "Blue_percentage", "red_percentage"),
    *("total_clusters", "average_clusters_32", "area", "circularity", "Count_Nuclei"),
)
FEATURE_COLUMNS: Final = (*COUNT_COLUMNS, *TEXTURE_COLUMNS)
"""What a system may read. Everything else is ignored, in particular `BOOKKEEPING_COLUMNS`."""
BOOKKEEPING_COLUMNS: Final = ("sr_no", "X_x", "X_1", "X_y", "ImageNumber")
"""Row numbers that the authors' merges left behind. They follow case and slide, which go with the
label, so they would leak it: alone they reach 0.64 on a random split."""
PREPARATION_COLUMN: Final = "X_x"
"""The bookkeeping column that says which preparation a row's texture has (docs/texture.md)."""
