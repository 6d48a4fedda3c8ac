"""Measure everything the card says of a bundle's doubts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.assessment_record import InputGate
from app.core.review import ReviewReason
from training.console.progress import tracked
from training.data.labelled import LabelledTiles
from training.data.tiles import some_of
from training.features.reference_tiles import choose_reference
from training.reliability.calibration_metrics import measure_quality
from training.reliability.cam_deletion import measure_deletion
from training.reliability.conformal import COVERAGES, Coverage, score_apart, score_sets, true_scores
from training.reliability.flag_rates import count_flagged
from training.reliability.input_gate import judge, judge_apart, measure_all
from training.reliability.ood_samples import other_stains, outsiders_by_kind
from training.reliability.ood_scores import compare_distances
from training.reliability.out_of_fold import Evidence, evidence_of
from training.reliability.predictor import Predictor
from training.reliability.report import AssessmentReport, Selection
from training.reliability.robustness import measure_robustness, read_files
from training.reliability.selective import need_of_review, risk_coverage
from training.runs.records import CrossValidation

MAX_TILES: Final = 200
"""Stains, maps and robustness are measured on so many tiles, evenly taken: more cost minutes."""
MAX_SEEN: Final = 2000
"""Embeddings that references are chosen from."""
REAL: Final = "real tiles"


@dataclass(frozen=True, slots=True)
class SeenTiles:
    """Training tiles as the released network sees them.

    Attributes:
        embeddings: float32 `[n, E]`.
        slides: names `[n]`.
    """

    embeddings: NDArray[np.float32]
    slides: NDArray[np.str_]


def some_seen(labelled: LabelledTiles, predictor: Predictor) -> SeenTiles:
    """At most `MAX_SEEN` training tiles, evenly taken."""
    n_tiles = len(labelled.tiles)
    chosen = np.linspace(0, n_tiles - 1, min(MAX_SEEN, n_tiles)).round().astype(int)
    _, embeddings = predictor.answers([labelled.tiles[int(i)] for i in chosen])
    return SeenTiles(embeddings, np.array([labelled.index.tiles[i].slide for i in chosen]))


def measure_bundle(
    labelled: LabelledTiles,
    seen: SeenTiles,
    runs: Sequence[CrossValidation],
    gate: InputGate,
    predictors: Mapping[str, Predictor],
    temperature: float,
) -> AssessmentReport:
    """Measure calibration, sets, gate, review, maps and robustness.

    Args:
        labelled: the tiles that were trained on.
        seen: some of them, by the released network.
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
    sample = some_of(tiles, MAX_TILES)
    side_px = sample.shape[1]
    outsiders = outsiders_by_kind(side_px)
    judged = _Judge(gate, predictor, seen.embeddings)
    own = judge_apart(by_slide.appearances, by_slide.distances, by_slide.folds)
    changed = tracked("Changing tiles")([index.tiles[i] for i in chosen])
    return AssessmentReport(
        source=f"{len(by_slide.truth)} answers out of fold, split by slide",
        n_tiles=len(tiles),
        before=measure_quality(by_slide.logits, by_slide.truth, 1.0),
        after=measure_quality(by_slide.logits, by_slide.truth, temperature),
        coverage=tuple(_coverage(evidence)),
        real=count_flagged(REAL, own),
        outsiders=tuple(count_flagged(kind, judged(shown)) for kind, shown in outsiders.items()),
        stains=tuple(
            count_flagged(name, judged(shown)) for name, shown in other_stains(sample).items()
        ),
        distance_methods=compare_distances(
            seen.embeddings,
            seen.slides,
            {kind: predictor.outputs(pictures).embedding for kind, pictures in outsiders.items()},
        ),
        int8_verdicts_changed=_int8_changes(gate, predictors, seen.embeddings, sample),
        selection=tuple(
            _selection(kind, evidence[kind]) for kind in ("slide", "patient") if kind in evidence
        ),
        deletion=measure_deletion(predictor, sample),
        robustness=measure_robustness(predictor, read_files(changed, labelled.data_dir), side_px),
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
