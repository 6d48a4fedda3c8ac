"""Evidence maps as numbers: the bundle's maps, scaled to [0, 1]."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.review import ReviewReason
from app.inference.results import Explanation

PREDICTED: Final = "predicted"
"""Requests the map of the predicted label."""
MAX_GLASS_SHARE: Final = 0.9
"""With more of the evidence on glass, hardly anything is left to show."""

_OUT_OF_DISTRIBUTION: Final = frozenset(
    {ReviewReason.BLANK, ReviewReason.NOT_TISSUE, ReviewReason.OUT_OF_DISTRIBUTION}
)
"""With one of these the tile is unlike anything in the training data."""


def obstacle_of(reasons: Iterable[ReviewReason]) -> str | None:
    """Why the map of a tile with these review reasons is meaningless; None if it is not."""
    if _OUT_OF_DISTRIBUTION.isdisjoint(reasons):
        return None
    return "the tile does not look like those the model was trained on, so its map is meaningless"


def explain_map(
    label: str, cam: NDArray[np.float32], glass: NDArray[np.float32], obstacle: str | None
) -> Explanation:
    """Scale one map to evidence in [0, 1], and measure how much of it lies on glass.

    Args:
        label: the label of the map.
        cam: float32 `[h, w]`, before ReLU: the contribution of each position to the label's logit.
        glass: float32 `[h, w]`, share of glass in each cell, in [0, 1].
        obstacle: why the map of this tile is meaningless; None if it is not.
    """
    highest = float(cam.max())
    if obstacle is None and not (np.isfinite(cam).all() and highest > 0.0):
        obstacle = f"the tile holds no evidence for {label}"
    if obstacle is not None:
        return Explanation(status="unavailable", label=label, grid=None, reason=obstacle)
    # Float64, because JSON shows the float32 nearest to 0.1234 as 0.12340000271797180.
    grid = np.maximum(cam, 0.0, dtype=np.float64) / highest
    glass_share = min(1.0, float((grid * glass).sum() / grid.sum()))
    if glass_share > MAX_GLASS_SHARE:
        return Explanation(
            status="unavailable",
            label=label,
            grid=None,
            glass_share=round(glass_share, 4),
            reason=f"{glass_share:.0%} of the evidence for {label} lies on glass",
        )
    return Explanation(
        status="available",
        label=label,
        grid=np.round(grid, 4).tolist(),
        max_logit=round(highest, 4),
        glass=np.round(glass.astype(np.float64), 4).tolist(),
        glass_share=round(glass_share, 4),
    )
