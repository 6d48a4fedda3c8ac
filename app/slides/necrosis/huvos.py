"""The Huvos group of a ratio, and what a slide without viable tumour would read.

From 90 % necrosis on, the response to chemotherapy counts as good: grades III and IV of Huvos,
Rosen & Marcove (1977).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from app.slides.necrosis.viability import MEASURED_ON, Confusions, Kind
from app.slides.results import IntervalMethod, RatioInterval

GOOD_RESPONSE: Final = 0.90
DEAD_SLIDE_OTHER_SHARE: Final = 0.3
"""Share of other tissue on the dead slide of `dead_slide_bias`."""
_UNSEEN: Final[tuple[IntervalMethod, ...]] = ("patient_confusion", "site_confusion")


def huvos_group(
    intervals: Sequence[RatioInterval],
) -> tuple[Literal["good", "poor", "undetermined"], str | None]:
    """The group, and why it is undetermined.

    Args:
        intervals: of the ratio; none if there is no ratio.

    Returns:
        A group only if every interval lies on one side of `GOOD_RESPONSE`, and only if one of them
        accounts for errors on patients that the model was not trained on.
    """
    crossing = [one for one in intervals if one.low < GOOD_RESPONSE <= one.high]
    if crossing:
        listed = ", ".join(_described(one) for one in crossing)
        return "undetermined", f"The ratio may lie on either side of {GOOD_RESPONSE:.2f}: {listed}."
    good = [one for one in intervals if one.low >= GOOD_RESPONSE]
    if good and len(good) < len(intervals):
        poor = next(one for one in intervals if one not in good)
        return "undetermined", (
            f"The intervals contradict each other: {_described(good[0])}, but {_described(poor)}."
        )
    if not any(one.method in _UNSEEN for one in intervals):
        return "undetermined", (
            "The model's errors on patients that it was not trained on were not measured."
        )
    return ("good" if good else "poor"), None


def dead_slide_bias(confusions: Confusions) -> str | None:
    """What a slide without viable tumour would read, with 30 % other tissue.

    The mean answers to it, by the measured errors without their uncertainty.

    Returns:
        A sentence, or None if no errors were measured.
    """
    readings = {method: dead_slide_reading(counts) for method, counts in confusions.items()}
    known = [
        f"{reading:.2f} by the errors on {MEASURED_ON[method]}"
        for method, reading in readings.items()
        if reading is not None
    ]
    if not known:
        return None
    return (
        f"This model would give a slide without viable tumour, with "
        f"{100 * DEAD_SLIDE_OTHER_SHARE:.0f} % other tissue, a ratio of {' and '.join(known)}."
    )


def _described(interval: RatioInterval) -> str:
    """Such as `0.58 to 1.00 with the errors on unseen patients`."""
    ends = f"{interval.low:.2f} to {interval.high:.2f}"
    if interval.method == "block_bootstrap":
        return f"{ends} by the tiles of the slide alone"
    return f"{ends} with the errors on {MEASURED_ON[interval.method]}"


def dead_slide_reading(confusion: Sequence[Sequence[int]]) -> float | None:
    """Mean ratio that the answers give for a slide without viable tumour.

    Args:
        confusion: counts of tiles by true and by answered kind, `[3][3]`.

    Returns:
        In [0, 1]; None if no tile of other or of dead tissue was measured, or all were taken for
        other tissue.
    """
    counts = np.array(confusion, dtype=np.float64)
    measured = counts.sum(axis=1)
    if not measured[Kind.NON_VIABLE] or not measured[Kind.OTHER]:
        return None
    shares = DEAD_SLIDE_OTHER_SHARE * counts[Kind.OTHER] / measured[Kind.OTHER]
    shares += (1 - DEAD_SLIDE_OTHER_SHARE) * counts[Kind.NON_VIABLE] / measured[Kind.NON_VIABLE]
    tumor = shares[Kind.NON_VIABLE] + shares[Kind.VIABLE]
    return float(shares[Kind.NON_VIABLE] / tumor) if tumor else None
