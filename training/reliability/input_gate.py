"""Fit the input gate's limits on real tiles, and score them on tiles it did not see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.appearance import Appearance, measure_appearance
from app.core.assessment_record import InputGate
from app.core.input_gate import gate_reasons
from app.core.review import ReviewReason
from training.data.tiles import Tiles, in_order

# Margins beyond what was seen: a few dozen tiles do not hold the extremes of a thousand.
_DISTANCE_MARGIN: Final = 1.1
_FLOOR_SHARE: Final = 0.25
"""Tissue, contrast and sharpness may be a quarter of the least that was seen."""
_STAIN_MARGIN: Final = 0.1
_ABSORPTION_MARGIN: Final = 0.35
"""Of the spread that was seen, to either side."""
_LEAST_GREEN_MARGIN: Final = 0.15
"""Of the spread of green, to the low side. Haematoxylin and eosin both absorb green most, so what
lies below the tiles that were seen is another stain rather than a paler one."""
_ABSORPTION_MARGINS_BELOW: Final = (_ABSORPTION_MARGIN, _LEAST_GREEN_MARGIN, _ABSORPTION_MARGIN)
_STEPS: Final = 10_000
"""Four decimals, rounded outwards: rounded to the nearest, a limit could shut its own tile out."""
_SLACK: Final = 1e-6
"""Of a step: the product of a value just beside a step is the step itself, in floats."""


def measure_all(tiles: Tiles) -> list[Appearance]:
    """Appearances of tiles, in order."""
    return list(in_order(lambda position: measure_appearance(tiles[position]), len(tiles)))


Distances = NDArray[np.float32] | None
"""float32 `[n]` from the training tiles; None where they were not measured."""


def fit_gate(appearances: Sequence[Appearance], distances: Distances) -> InputGate:
    """Limits that all of these tiles keep, with a margin."""
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


def _distance_limit(farthest: float) -> float:
    # Where all tiles are one tile the distance is 0, or less by rounding; a limit is more.
    return max(float(_rounded_up(np.float64(_DISTANCE_MARGIN * farthest))), 1 / _STEPS)


def _rounded_down(values: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.floor(values * _STEPS - _SLACK) / _STEPS


def _rounded_up(values: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.ceil(values * _STEPS + _SLACK) / _STEPS


def judge(
    gate: InputGate, appearances: Sequence[Appearance], distances: Distances
) -> list[frozenset[ReviewReason]]:
    """What the gate has against each tile."""
    measured = [None] * len(appearances) if distances is None else distances.tolist()
    pairs = zip(appearances, measured, strict=True)
    return [frozenset(gate_reasons(gate, a, distance)) for a, distance in pairs]


def judge_apart(
    appearances: Sequence[Appearance], distances: Distances, folds: NDArray[np.str_]
) -> list[frozenset[ReviewReason]]:
    """What gates that were fitted without a tile's fold have against it.

    Args:
        appearances: of the tiles.
        distances: of each tile by the model that was fitted without its fold.
        folds: names `[n]`.
    """
    judged: dict[int, frozenset[ReviewReason]] = {}
    for fold in np.unique(folds):
        inside = np.flatnonzero(folds == fold).tolist()
        outside = np.flatnonzero(folds != fold).tolist()
        held_out = None if distances is None else distances[inside]
        rest = None if distances is None else distances[outside]
        gate = fit_gate([appearances[i] for i in outside], rest)
        verdicts = judge(gate, [appearances[i] for i in inside], held_out)
        judged |= dict(zip(inside, verdicts, strict=True))
    return [judged[i] for i in range(len(appearances))]
