"""The answer for one tile of a slide, as it is stored while the slide is being classified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.review import ReviewReason

EXCLUDING_REASONS: Final = (
    ReviewReason.BLANK,
    ReviewReason.NOT_TISSUE,
    ReviewReason.OUT_OF_DISTRIBUTION,
)
"""A tile with one of these is left out of every count and area of tumour."""


@dataclass(frozen=True, slots=True)
class TileRow:
    """One tile.

    Attributes:
        column, row: place in the grid.
        tissue_share: share of the tile that is tissue, measured at a coarse scale, in [0, 1].
        probabilities: of the labels, in the order of the manifest, in [0, 1]; empty if the tile
            could not be read.
        reasons: why a person should look at it.
        priority: how urgently, in [0, 1]; see `app.core.review.review_priority`.
        distance: from the training tiles, in [0, 2]; None if not measured.
        evidence: float16 `[h, w]` as bytes, the evidence map of the predicted label without its
            negative part, in units of the logit; None if the tile could not be read.
        error: why the tile could not be read; None if it was.
    """

    column: int
    row: int
    tissue_share: float
    probabilities: tuple[float, ...] = ()
    reasons: tuple[str, ...] = ()
    priority: float = 1.0
    distance: float | None = None
    evidence: bytes | None = None
    error: str | None = None

    @property
    def class_index(self) -> int | None:
        """Position of the most probable label; None if the tile could not be read."""
        if not self.probabilities:
            return None
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def excluded_by(self) -> ReviewReason | None:
        """The first reason that leaves the tile out of the counts; None if it counts."""
        return next((reason for reason in EXCLUDING_REASONS if reason in self.reasons), None)

    def evidence_map(self, shape: tuple[int, int]) -> NDArray[np.float16] | None:
        """The evidence of the predicted label, float16 of `shape`, at least 0."""
        if self.evidence is None:
            return None
        return np.frombuffer(self.evidence, np.float16).reshape(shape)
