"""The Huvos group of a ratio, and what a slide without living tumour would read.

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
        listed = ", ".join(f"{one.method} {one.low:.2f} to {one.high:.2f}" for one in crossing)
        return "undetermined", f"The ratio may lie on either side of {GOOD_RESPONSE:.2f}: {listed}."
    good = [one for one in intervals if one.low >= GOOD_RESPONSE]
    if good and len(good) < len(intervals):
        poor = next(one for one in intervals if one not in good)
        return "undetermined", (
            f"The intervals contradict each other: {good[0].method} is {good[0].low:.2f} to "
            f"{good[0].high:.2f}, but {poor.method} is {poor.low:.2f} to {poor.high:.2f}."
        )
    if not any(one.method in _UNSEEN for one in intervals):
        return "undetermined", (
            "The model's errors on patients that it was not trained on were not measured."
        )
    return ("good" if good else "poor"), None


def dead_slide_bias(confusions: Confusions) -> str | None:
    """What a slide without living tumour would read, 30 % of its tissue being no tumour.

    The mean answers to it, by the measured errors without their uncertainty.

    Returns:
        A sentence, or None if no errors were measured.
    """
    readings = {method: dead_slide_reading(counts) for method, counts in confusions.items()}
    known = [
        f"about {reading:.2f} by its errors on {MEASURED_ON[method]}"
        for method, reading in readings.items()
        if reading is not None
    ]
    if not known:
        return None
    return (
        f"With this model a slide without living tumour, {100 * DEAD_SLIDE_OTHER_SHARE:.0f} % of "
        f"whose tissue is no tumour, reads {' and '.join(known)}."
    )


def dead_slide_reading(confusion: Sequence[Sequence[int]]) -> float | None:
    """Mean ratio that the answers give for a slide without living tumour.

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
