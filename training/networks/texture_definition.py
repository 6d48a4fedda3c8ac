"""What the texture measures are, for the reference and for the graph that computes the same.

The feature table of the collection (doi:10.7937/tcia.2019.bvhjhdas, CC BY 3.0) was made with
CellProfiler 2. This is its processing, read from CellProfiler's sources (modules `unmixcolors`,
`measuretexture`, `cpmath/haralick.py` and `cpmath/threshold.py`) and confirmed on the tiles: it
reproduces the table to its last digit (docs/texture.md).

1. The amount of haematoxylin: `1 - clip(exp(sum_c v_c ln(t_c / 255 + e)) - e, 0, 1)`, where `t_c`
   is a red, green or blue value, `v` is `HAEMATOXYLIN` at length 1 and `e` is `ABSORBANCE_OFFSET`.
   No second stain is separated from it, so this is a weighted darkness.
2. `thresholded` only: amounts at or below a threshold become 0. With `u = floor(255 (x - min) /
   (max - min))`, the threshold is the `k` that maximises the variance between `u <= k` and `u > k`
   (Otsu 1979; CellProfiler calls it the maximum correlation threshold, Padmanabhan 2010,
   doi:10.1016/j.jneumeth.2010.08.031), and `255 (x - min) / (max - min) <= k` becomes 0.
3. The level, 0 to 7: `floor(8 (x - min) / (max - min))`, at most 7. The range is the tile's own.
4. The co-occurrence matrix `P[a, b]` of a direction: the share of the pixels that have level `a`
   while the pixel at the direction's offset has level `b`. It is not made symmetric.
5. Haralick's 13 measures of `P` (Haralick, Shanmugam & Dinstein 1973,
   doi:10.1109/TSMC.1973.4309314), with natural logarithms and levels counted from 1.

A measure that is not defined is 0, as in the table: the correlation and the first information
measure of a tile that has a single level.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Final, Literal, get_args

Preparation = Literal["plain", "thresholded"]
"""The table holds one of the two in each row: `plain` where its column `X_x` is below 547."""

PREPARATIONS: Final[tuple[Preparation, ...]] = get_args(Preparation)

N_LEVELS: Final = 8
N_THRESHOLD_LEVELS: Final = 256
ABSORBANCE_OFFSET: Final = 1.0 / 512.0
"""Half a grey level. It keeps the logarithm of black finite."""
_ABSORBANCES: Final = (0.644, 0.717, 0.267)
HAEMATOXYLIN: Final = tuple(value / math.hypot(*_ABSORBANCES) for value in _ABSORBANCES)
"""Relative absorbances of haematoxylin in red, green and blue in CellProfiler's `UnmixColors`."""

MEASURES: Final = (
    "AngularSecondMoment",
    "Contrast",
    "Correlation",
    "Variance",
    "InverseDifferenceMoment",
    "SumAverage",
    "SumVariance",
    "SumEntropy",
    "Entropy",
    "DifferenceVariance",
    "DifferenceEntropy",
    "InfoMeas1",
    "InfoMeas2",
)
STEPS: Final = MappingProxyType({"0": (0, 1), "45": (1, 1), "90": (1, 0), "135": (1, -1)})
"""(rows down, columns to the right) of one step in each direction, by the table's names."""

TABLE_SIDE_PX: Final = 1024
TABLE_OFFSET_PX: Final = 3
TABLE_COLUMNS: Final = tuple(
    f"Texture_{measure}_{TABLE_OFFSET_PX}_{direction}"
    for measure in MEASURES
    for direction in STEPS
)
"""The table's names of the measures, in the order of the reference and of the graph."""


def offset_px(side_px: int) -> int:
    """The offset, in pixels, that is nearest to the table's at this side; at least 1."""
    return max(1, round(TABLE_OFFSET_PX * side_px / TABLE_SIDE_PX))
