"""Build the assessment record, the part of a manifest that the service assesses tiles with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from app.core.assessment_record import (
    AssessmentRecord,
    Conformal,
    DriftReference,
    Histogram,
    InputGate,
)
from app.core.manifest import SplitKind
from app.core.population_stability import bin_edges, count_bins
from training.reliability.conformal import SCORE, calibration_scores
from training.reliability.held_out import HeldOutPredictions
from training.reliability.input_gate import fit_gate

_N_BINS: Final = 5
"""A few dozen predictions do not fill more bins."""


def build_record(
    held_out: HeldOutPredictions,
    label_ids: Sequence[str],
    split: SplitKind | Literal["site"] = "slide",
    gate: InputGate | None = None,
) -> AssessmentRecord:
    """Build a record from predictions on tiles that the model was not trained on.

    Args:
        held_out: the predictions.
        label_ids: in the order of the logits.
        split: the split of out-of-fold predictions, or `site` for those of a site's own tiles.
        gate: limits to use unchanged; if None, they are fitted to these tiles.
    """
    probabilities = held_out.probabilities
    counts = Counter(held_out.predicted.tolist())
    return AssessmentRecord(
        n_tiles=len(held_out.truth),
        conformal=Conformal(
            score=SCORE, split=split, scores=calibration_scores(probabilities, held_out.truth)
        ),
        gate=gate or fit_gate(held_out.appearances, held_out.distances),
        drift=DriftReference(
            predictions={label: counts[i] for i, label in enumerate(label_ids)},
            probability=_histogram(probabilities.max(axis=1)),
            distance=None if held_out.distances is None else _histogram(held_out.distances),
        ),
    )


def _histogram(values: ArrayLike) -> Histogram:
    edges = bin_edges(np.asarray(values), _N_BINS)
    return Histogram(edges=edges, counts=tuple(count_bins(values, edges).tolist()))
