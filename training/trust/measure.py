"""Measure everything the card says of a bundle's doubts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.assessment import InputGate
from app.core.gate import ReviewReason
from training.labelled import LabelledTiles
from training.progress import tracked
from training.runs import CrossValidation
from training.trust.coverage import COVERAGES, Coverage, score_apart, score_sets, true_scores
from training.trust.deletion import measure_deletion
from training.trust.distances import compare_distances
from training.trust.evidence import Evidence, evidence_of
from training.trust.gate import judge, judge_apart, measure_all
from training.trust.intervals import binomial_interval
from training.trust.outsiders import other_stains, outsiders_by_kind
from training.trust.predictor import Predictor
from training.trust.quality import measure_quality
from training.trust.reference import choose_reference
from training.trust.report import AssessmentReport, Flagged, Selection
from training.trust.review import need_of_review, risk_coverage
from training.trust.robustness import measure_robustness

MAX_TILES: Final = 200
"""Stains, maps and robustness are measured on so many tiles, evenly taken: more cost minutes."""
REAL: Final = "real tiles"


def measure_bundle(
    labelled: LabelledTiles,
    runs: Sequence[CrossValidation],
    gate: InputGate,
    predictors: Mapping[str, Predictor],
    temperature: float,
) -> AssessmentReport:
    """Measure calibration, sets, gate, review, maps and robustness.

    Args:
        labelled: the tiles that were trained on.
        runs: cross-validations; one by slide is among them.
        gate: the limits that are released.
        predictors: of the released model, by precision; `fp32` is there, `int8` may be.
        temperature: of the bundle.
    """
    index, tiles = labelled.index, labelled.tiles
    evidence: dict[str, Evidence] = {
        run.kind: evidence_of(run, labelled, temperature) for run in runs
    }
    by_slide, predictor = evidence["slide"], predictors["fp32"]
    chosen = np.linspace(0, len(tiles) - 1, min(MAX_TILES, len(tiles))).round().astype(int)
    sample = tiles[chosen]
    embeddings = predictor.outputs(tiles).embedding
    outsiders = outsiders_by_kind(tiles.shape[1])
    judged = _Judge(gate, predictor, embeddings)
    slides = np.array([tile.slide for tile in index.tiles])
    own = judge_apart(by_slide.appearances, by_slide.distances, by_slide.folds)
    files = tracked("Changing tiles")([labelled.data_dir / index.tiles[i].file for i in chosen])
    return AssessmentReport(
        source=f"{len(by_slide.truth)} answers out of fold, split by slide",
        n_tiles=len(tiles),
        before=measure_quality(by_slide.logits, by_slide.truth, 1.0),
        after=measure_quality(by_slide.logits, by_slide.truth, temperature),
        coverage=tuple(_coverage(evidence)),
        real=_flagged(REAL, own),
        outsiders=tuple(_flagged(kind, judged(shown)) for kind, shown in outsiders.items()),
        stains=tuple(_flagged(name, judged(shown)) for name, shown in other_stains(sample).items()),
        distance_methods=compare_distances(
            embeddings,
            slides,
            {kind: predictor.outputs(pictures).embedding for kind, pictures in outsiders.items()},
        ),
        int8_verdicts_changed=_int8_changes(gate, predictors, embeddings, sample),
        selection=tuple(
            _selection(kind, evidence[kind]) for kind in ("slide", "patient") if kind in evidence
        ),
        deletion=measure_deletion(predictor, sample),
        robustness=measure_robustness(
            predictor, (file.read_bytes() for file in files), tiles.shape[1]
        ),
    )


class _Judge:
    """The released gate, over pictures."""

    def __init__(
        self, gate: InputGate, predictor: Predictor, embeddings: NDArray[np.float32]
    ) -> None:
        self._gate, self._predictor = gate, predictor
        self._reference = choose_reference(embeddings)

    def __call__(self, pictures: NDArray[np.uint8]) -> list[frozenset[ReviewReason]]:
        distances = self._reference.distances(self._predictor.outputs(pictures).embedding)
        return judge(self._gate, measure_all(pictures), distances)


def _flagged(kind: str, verdicts: Sequence[frozenset[ReviewReason]]) -> Flagged:
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


def _coverage(evidence: Mapping[str, Evidence]) -> list[Coverage]:
    """By slide with thresholds from the other folds; by patient with those that are released."""
    by_slide = evidence["slide"]
    rows = [
        score_apart("slide", asked, by_slide.probabilities, by_slide.truth, by_slide.folds)
        for asked in COVERAGES
    ]
    if (patient := evidence.get("patient")) is not None:
        scores = [true_scores(by_slide.probabilities, by_slide.truth)]
        one_fold = np.zeros(len(patient.truth), dtype=np.int64)
        rows += [
            score_sets("patient", asked, patient.probabilities, patient.truth, scores, one_fold)
            for asked in COVERAGES
        ]
    return rows


def _selection(kind: str, evidence: Evidence) -> Selection:
    is_wrong = evidence.predicted != evidence.truth
    return Selection(
        split=kind,
        n_tiles=len(is_wrong),
        n_wrong=int(is_wrong.sum()),
        points=risk_coverage(need_of_review(evidence.probabilities), is_wrong),
    )


def _int8_changes(
    gate: InputGate,
    predictors: Mapping[str, Predictor],
    embeddings: NDArray[np.float32],
    sample: NDArray[np.uint8],
) -> int | None:
    """Tiles whose verdict at the gate differs between the precisions."""
    if "int8" not in predictors:
        return None
    one, other = (_Judge(gate, predictors[p], embeddings)(sample) for p in ("fp32", "int8"))
    return sum(a != b for a, b in zip(one, other, strict=True))
