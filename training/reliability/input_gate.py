"""Fit the limits of the input gate on real tiles, and apply them to other tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.appearance import Appearance, measure_appearance
from app.core.assessment_record import InputGate
from app.core.input_gate import gate_reasons
from app.core.review import ReviewReason
from training.console.progress import tracked
from training.data.tiles import Tiles, in_order

# The limits have margins, because a few dozen tiles do not contain the extremes of a thousand.
# docs/decisions/0037-input-gate.md has the measurements behind them.
_DISTANCE_MARGIN: Final = 1.1
"""Factor on the largest distance."""
_FLOOR_SHARE: Final = 0.25
"""Factor on the lowest tissue share, contrast and sharpness."""
_STAIN_MARGIN: Final = 0.1
_ABSORPTION_MARGIN: Final = 0.35
"""Share of the range of a colour, added on both sides."""
_LEAST_GREEN_MARGIN: Final = 0.15
"""Share of the range of green, added on the low side. Haematoxylin and eosin both absorb green
most, so a lower share means another stain, not a paler one."""
_ABSORPTION_MARGINS_BELOW: Final = (_ABSORPTION_MARGIN, _LEAST_GREEN_MARGIN, _ABSORPTION_MARGIN)
_STEPS: Final = 10_000
"""Limits are rounded outwards to four decimals; rounding to nearest could exclude a fitted tile."""
_SLACK: Final = 1e-6
"""In steps: a product this close to a step may only be off it by a floating-point error."""

Distances = NDArray[np.float32] | None
"""Distances to the training tiles, float32 `[n]`; None if they were not measured."""


def measure_appearances(tiles: Tiles) -> list[Appearance]:
    """Measure the appearance of every tile, uint8 `[side, side, 3]` RGB, in order."""
    measured = in_order(lambda position: measure_appearance(tiles[position]), len(tiles))
    positions = tracked("Measuring tiles")(range(len(tiles)))
    return [appearance for _, appearance in zip(positions, measured, strict=True)]


def fit_gate(appearances: Sequence[Appearance], distances: Distances) -> InputGate:
    """Fit limits that admit all of these tiles, with a margin.

    Args:
        appearances: one for each tile; at least one.
        distances: one for each tile; if None, the gate has no distance limit.
    """
    shares = np.array([appearance.absorption for appearance in appearances])
    low, high = shares.min(axis=0), shares.max(axis=0)
    spread = high - low
    floors = _rounded_down(low - np.array(_ABSORPTION_MARGINS_BELOW) * spread)
    bounds = zip(floors, _rounded_up(high + _ABSORPTION_MARGIN * spread), strict=True)
    red, green, blue = ((max(least, 0.0), min(most, 1.0)) for least, most in bounds)
    stain = min(appearance.stain_share for appearance in appearances) - _STAIN_MARGIN
    return InputGate(
        min_tissue_share=round(_FLOOR_SHARE * min(a.tissue_share for a in appearances), 4),
        min_contrast=round(_FLOOR_SHARE * min(a.contrast for a in appearances), 3),
        min_sharpness=round(_FLOOR_SHARE * min(a.sharpness for a in appearances), 3),
        min_stain_share=round(max(stain, 0.0), 4),
        absorption=(red, green, blue),
        max_distance=None if distances is None else _distance_limit(float(distances.max())),
    )


def _distance_limit(largest: float) -> float:
    # If all tiles are identical, the distance is 0, or negative by rounding; a limit is positive.
    return max(float(_rounded_up(np.float64(_DISTANCE_MARGIN * largest))), 1 / _STEPS)


def _rounded_down(values: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.floor(values * _STEPS - _SLACK) / _STEPS


def _rounded_up(values: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.ceil(values * _STEPS + _SLACK) / _STEPS


def flag_tiles(
    gate: InputGate, appearances: Sequence[Appearance], distances: Distances
) -> list[frozenset[ReviewReason]]:
    """The reasons for which a gate flags each tile; empty if it admits the tile."""
    measured = [None] * len(appearances) if distances is None else distances.tolist()
    pairs = zip(appearances, measured, strict=True)
    return [frozenset(gate_reasons(gate, a, distance)) for a, distance in pairs]


def flag_tiles_out_of_fold(
    appearances: Sequence[Appearance], distances: Distances, folds: NDArray[np.str_]
) -> list[frozenset[ReviewReason]]:
    """As `flag_tiles`, with a gate fitted without the tile's fold.

    Args:
        appearances: one for each tile.
        distances: one for each tile, measured with the model that was fitted without its fold.
        folds: fold names `[n]`.
    """
    verdicts: dict[int, frozenset[ReviewReason]] = {}
    for fold in np.unique(folds):
        inside = np.flatnonzero(folds == fold).tolist()
        outside = np.flatnonzero(folds != fold).tolist()
        held_out = None if distances is None else distances[inside]
        rest = None if distances is None else distances[outside]
        gate = fit_gate([appearances[i] for i in outside], rest)
        flagged = flag_tiles(gate, [appearances[i] for i in inside], held_out)
        verdicts |= dict(zip(inside, flagged, strict=True))
    return [verdicts[i] for i in range(len(appearances))]
