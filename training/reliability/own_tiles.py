"""What a bundle answers on its own training tiles, for a card that says what this does not mean."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.assessment_record import DriftReference
from app.core.calibration import probabilities_from_logits
from app.core.population_stability import count_bins, stability_index
from training.storage.frozen_model import FrozenModel

MOVED: Final = 0.25
"""Population stability index above which a distribution has moved, by convention."""


class OwnTiles(FrozenModel):
    """The released model on tiles that it was trained on.

    Attributes:
        n_tiles: number of tiles.
        n_correct: tiles whose largest logit is that of their label.
        drift: population stability index of these answers against the bundle's reference, by
            quantity; above `MOVED` the documented alert fires.
    """

    n_tiles: int
    n_correct: int
    drift: dict[str, float]


def measure_own_tiles(
    logits: NDArray[np.float64],
    truth: NDArray[np.int64],
    distances: NDArray[np.floating],
    temperature: float,
    reference: DriftReference,
) -> OwnTiles:
    """Compare answers on training tiles with the labels and with the drift reference.

    Args:
        logits: of the training tiles, `[n, C]`.
        truth: positions of their labels, `[n]`.
        distances: of their embeddings from the reference tiles, `[n]`.
        temperature: the bundle's.
        reference: the bundle's, from out-of-fold answers; its predictions are in the order of the
            logits.
    """
    predicted = logits.argmax(axis=1)
    probabilities = probabilities_from_logits(logits, temperature).max(axis=1)
    expected = list(reference.predictions.values())
    counted = np.bincount(predicted, minlength=len(expected))
    drift = {"prediction": stability_index(counted, expected)}
    for quantity, values in (("probability", probabilities), ("distance", distances)):
        histogram = getattr(reference, quantity)
        if histogram is not None:
            counts = count_bins(values, histogram.edges)
            drift[quantity] = stability_index(counts, histogram.counts)
    return OwnTiles(n_tiles=len(truth), n_correct=int((predicted == truth).sum()), drift=drift)
