"""The input gate: is this a tile of the kind the model was made for?

One function for the service, which applies it, and for training, which fits and scores it.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.core.appearance import Appearance
from app.core.assessment_record import InputGate
from app.core.review import ReviewReason


def gate_reasons(
    gate: InputGate, appearance: Appearance, distance: float | None
) -> Iterator[ReviewReason]:
    """What the gate has against a tile; nothing, where it looks like the tiles it was fitted on.

    Args:
        gate: the limits.
        appearance: of the tile.
        distance: from the training tiles; None where it was not measured.
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
    if not distance <= gate.max_distance:  # NaN is out, too
        yield ReviewReason.OUT_OF_DISTRIBUTION
