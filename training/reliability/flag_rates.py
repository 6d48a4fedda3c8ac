"""Verdicts of the input gate, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from app.core.review import ReviewReason
from training.reliability.intervals import binomial_interval


class Flagged(BaseModel):
    """How many pictures of a kind the input gate sent to review; shares in [0, 1]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    n_pictures: int
    flagged: float
    low: float
    high: float
    by_reason: dict[str, float]


def count_flagged(kind: str, verdicts: Sequence[frozenset[ReviewReason]]) -> Flagged:
    """Count verdicts, of at least one picture; the interval is binomial, at 95 %."""
    n_flagged = sum(bool(reasons) for reasons in verdicts)
    low, high = binomial_interval(n_flagged, len(verdicts))
    counts = Counter(reason for reasons in verdicts for reason in reasons)
    return Flagged(
        kind=kind,
        n_pictures=len(verdicts),
        flagged=n_flagged / len(verdicts),
        low=low,
        high=high,
        by_reason={reason.value: n / len(verdicts) for reason, n in sorted(counts.items())},
    )
