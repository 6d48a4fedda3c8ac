"""The input gate decides whether a tile looks like those the model was trained on.

The service applies it; training fits and evaluates it with the same function.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.core.appearance import Appearance
from app.core.assessment_record import InputGate
from app.core.review import ReviewReason


def gate_reasons(
    gate: InputGate, appearance: Appearance, distance: float | None
) -> Iterator[ReviewReason]:
    """Yield the reasons why the gate sends a tile to review.

    Args:
        gate: the limits.
        appearance: measurements of the tile.
        distance: mean cosine distance from the training tiles, in [0, 2]; None if not measured.
    """
    is_filled = appearance.tissue_share >= gate.min_tissue_share
    if not (is_filled and appearance.contrast >= gate.min_contrast):
        yield ReviewReason.BLANK
    if appearance.sharpness < gate.min_sharpness:
        yield ReviewReason.BLURRED
    is_stained = appearance.stain_share >= gate.min_stain_share
    shares = zip(appearance.absorption, gate.absorption, strict=True)
    if not (is_stained and all(low <= share <= high for share, (low, high) in shares)):
        yield ReviewReason.NOT_TISSUE
    if distance is None or gate.max_distance is None:
        return
    if not distance <= gate.max_distance:  # true for NaN
        yield ReviewReason.OUT_OF_DISTRIBUTION
