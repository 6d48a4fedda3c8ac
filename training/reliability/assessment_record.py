"""What the service needs of it all: the assessment record of a manifest."""

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
from app.core.population_stability import bin_edges, count_bins
from training.reliability.conformal import true_scores
from training.reliability.input_gate import fit_gate
from training.reliability.out_of_fold import Evidence

_N_BINS: Final = 5
"""Few, since a few dozen answers stand behind them."""


def build_record(
    evidence: Evidence,
    label_ids: Sequence[str],
    split: Literal["slide", "site"] = "slide",
    gate: InputGate | None = None,
) -> AssessmentRecord:
    """The record of answers to tiles that were not trained on.

    Args:
        evidence: the answers.
        label_ids: in the order of the logits.
        split: whose answers they are.
        gate: kept as it is where given, else fitted on the tiles.
    """
    counts = Counter(evidence.predicted.tolist())
    return AssessmentRecord(
        n_tiles=len(evidence.truth),
        conformal=Conformal(
            split=split, scores=true_scores(evidence.probabilities, evidence.truth)
        ),
        gate=gate or fit_gate(evidence.appearances, evidence.distances),
        drift=DriftReference(
            predictions={label: counts[i] for i, label in enumerate(label_ids)},
            probability=_histogram(evidence.probabilities.max(axis=1)),
            distance=None if evidence.distances is None else _histogram(evidence.distances),
        ),
    )


def _histogram(values: ArrayLike) -> Histogram:
    edges = bin_edges(np.asarray(values), _N_BINS)
    return Histogram(edges=edges, counts=tuple(count_bins(values, edges).tolist()))
