"""Counts over all tiles of a report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from app.inference.results import TileResult


@dataclass(slots=True)
class Summary:
    """What the head of a report says about its tiles."""

    predictions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    n_for_review: int = 0
    n_failed: int = 0

    @property
    def n_tiles(self) -> int:
        """Tiles that were classified."""
        return self.predictions.total()

    def add(self, result: TileResult | None) -> None:
        """Count an answer, or a file without one."""
        if result is None:
            self.n_failed += 1
            return
        self.predictions[result.prediction] += 1
        self.reasons.update(result.review.reasons)
        self.n_for_review += result.review.required
