"""Drift monitoring: compares recent answers with the bundle's reference over a sliding window.

Nothing of an image is kept: the window holds three bin numbers a tile.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

from app.core.assessment_record import DriftReference
from app.core.population_stability import bin_of, stability_index

MIN_TILES: Final = 100
"""With fewer tiles the index reflects chance more than drift."""
QUANTITIES: Final = ("prediction", "probability", "distance")


class _Window:
    """Counts of the most recent bin numbers."""

    def __init__(self, reference: Sequence[int], n_tiles: int) -> None:
        self._reference = reference
        self._latest: deque[int] = deque(maxlen=n_tiles)
        self._counts = [0] * len(reference)

    def add(self, bin_number: int) -> None:
        if len(self._latest) == self._latest.maxlen:
            self._counts[self._latest[0]] -= 1
        self._latest.append(bin_number)
        self._counts[bin_number] += 1

    @property
    def index(self) -> float:
        if len(self._latest) < MIN_TILES:
            return math.nan
        return stability_index(self._counts, self._reference)


class DriftWatch:
    """The population stability index of one model's answers; used from the event loop only."""

    def __init__(self, reference: DriftReference, label_ids: Sequence[str], n_tiles: int) -> None:
        """Start with an empty window.

        Args:
            reference: the distribution of the out-of-fold answers.
            label_ids: all labels of the model, including those never predicted out-of-fold.
            n_tiles: size of the window; at least `MIN_TILES`.
        """
        n_tiles = max(n_tiles, MIN_TILES)
        self._label_ids = tuple(label_ids)
        self._probability = reference.probability
        self._distance = reference.distance
        counts = [reference.predictions.get(label, 0) for label in label_ids]
        self._windows = {
            "prediction": _Window(counts, n_tiles),
            "probability": _Window(reference.probability.counts, n_tiles),
        }
        if self._distance is not None:
            self._windows["distance"] = _Window(self._distance.counts, n_tiles)

    def observe(self, prediction: str, probability: float, distance: float | None) -> None:
        """Count one answer."""
        self._windows["prediction"].add(self._label_ids.index(prediction))
        self._windows["probability"].add(bin_of(probability, self._probability.edges))
        if distance is not None and self._distance is not None:
            self._windows["distance"].add(bin_of(distance, self._distance.edges))

    def index(self, quantity: str) -> float:
        """The index of one of `QUANTITIES`; NaN below `MIN_TILES` tiles or without a reference."""
        window = self._windows.get(quantity)
        return math.nan if window is None else window.index
