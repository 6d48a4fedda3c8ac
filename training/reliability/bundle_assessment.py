"""Assess a bundle at release: fit its assessment record and measure its reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.assessment_record import AssessmentRecord, InputGate
from app.core.calibration import predictive_entropy
from app.core.manifest import INT8_NAME, LITERT_NAME, SplitKind
from app.core.reference_tiles import REFERENCE_NAME, ReferenceTiles
from app.core.review import ReviewReason
from training.console.progress import tracked
from training.data.index import Index
from training.data.labelled_tiles import LabelledTiles
from training.data.tiles import evenly_spaced, some_of
from training.evaluation.calibration import calibrating_kind, measure_calibration
from training.features.reference_tiles import choose_reference
from training.reliability.assessment_record import build_record
from training.reliability.assessment_report import AssessmentReport, Selection, write_report
from training.reliability.cam_deletion import measure_deletion
from training.reliability.conformal import (
    COVERAGES,
    Coverage,
    calibration_scores,
    measure_coverage,
    measure_coverage_out_of_fold,
)
from training.reliability.flag_rates import FlagRate, flag_rate
from training.reliability.held_out import HeldOutPredictions, out_of_fold_predictions
from training.reliability.input_gate import (
    flag_tiles,
    flag_tiles_out_of_fold,
    measure_appearances,
)
from training.reliability.ood_samples import draw_ood_samples, in_other_stains
from training.reliability.ood_scores import compare_distances
from training.reliability.own_tiles import measure_own_tiles
from training.reliability.plots import plot_risk_coverage, plot_robustness
from training.reliability.predictor import Predictor
from training.reliability.robustness import measure_robustness, read_files
from training.reliability.selective import risk_coverage
from training.runs.records import CrossValidation, class_indices_of

MAX_TILES: Final = 200
"""Limit for measuring stains, evidence maps and robustness; more tiles would take minutes."""
_MAX_REFERENCE_CANDIDATES: Final = 2000
"""Tiles whose embeddings the reference tiles are chosen from."""
_PLOTS_NAME: Final = "plots"


@dataclass(frozen=True, slots=True)
class _ReleasedModel:
    """The model as the service will run it, with its input gate.

    Attributes:
        predictors: by precision; `fp32` is present, `int8` may be.
        limits: the limits of the input gate.
        embeddings: float32 `[n, E]` of training tiles.
        slides: their slide names, `[n]`; folds of the random split if slides are unknown.
        reference: the tiles that distances are measured to, chosen from these embeddings.
    """

    predictors: Mapping[str, Predictor]
    limits: InputGate
    embeddings: NDArray[np.float32]
    slides: NDArray[np.str_]
    reference: ReferenceTiles

    def flag(
        self, tiles: NDArray[np.uint8], precision: str = "fp32"
    ) -> list[frozenset[ReviewReason]]:
        """Apply the input gate to uint8 `[n, side, side, 3]`."""
        distances = self.reference.distances(self.predictors[precision].outputs(tiles).embedding)
        return flag_tiles(self.limits, measure_appearances(tiles), distances)

    def flag_rates(self, images: Mapping[str, NDArray[np.uint8]]) -> tuple[FlagRate, ...]:
        """Flag rates by kind of image."""
        kinds = tracked("Checking other images")(list(images.items()))
        return tuple(flag_rate(kind, self.flag(shown)) for kind, shown in kinds)


def assess_bundle(
    bundle_dir: Path,
    labelled: LabelledTiles,
    runs: Sequence[CrossValidation],
    temperature: float,
) -> tuple[AssessmentRecord, AssessmentReport]:
    """Write `reference.npz`, `assessment.json` and two plots into the bundle.

    Args:
        bundle_dir: must hold `model.tflite`; `model-int8.tflite` is compared with it if present.
        labelled: the training tiles.
        runs: cross-validations, one of them by `calibrating_kind`.
        temperature: the bundle's temperature.

    Returns:
        The record for the manifest, and the report for the model card.
    """
    index, tiles = labelled.index, labelled.tiles
    appearances = measure_appearances(tiles)
    held_out: dict[str, HeldOutPredictions] = {
        run.kind: out_of_fold_predictions(run, index, appearances, temperature) for run in runs
    }
    kind = calibrating_kind(index)
    record = build_record(held_out[kind], index.label_set.ids, kind)
    files = {"fp32": bundle_dir / LITERT_NAME, "int8": bundle_dir / INT8_NAME}
    with ExitStack() as stack:
        predictors = {
            precision: stack.enter_context(Predictor(file, temperature))
            for precision, file in files.items()
            if file.exists()
        }
        chosen = evenly_spaced(len(tiles), _MAX_REFERENCE_CANDIDATES)
        logits, embeddings = predictors["fp32"].logits_and_embeddings([tiles[i] for i in chosen])
        groups = _groups_of(index, next(run for run in runs if run.kind == kind))
        slides = np.array([groups[i] for i in chosen])
        reference = choose_reference(embeddings)
        reference.write(bundle_dir / REFERENCE_NAME)
        model = _ReleasedModel(predictors, record.gate, embeddings, slides, reference)
        truth = np.asarray(class_indices_of(index))[chosen]
        distances = reference.distances(embeddings)
        own = measure_own_tiles(logits, truth, distances, temperature, record.drift)
        report = _measure(labelled, held_out, kind, model).model_copy(update={"own": own})
    write_report(bundle_dir, report)
    plot_risk_coverage(bundle_dir / _PLOTS_NAME / "risk-coverage.png", report)
    plot_robustness(bundle_dir / _PLOTS_NAME / "robustness.png", report)
    return record, report


def _groups_of(index: Index, run: CrossValidation) -> list[str]:
    """The slide of each tile or, if slides are unknown, its fold."""
    fold_of = {answer.tile: answer.fold for answer in run.answers}
    return [tile.slide or fold_of.get(tile.name, "") for tile in index.tiles]


def _measure(
    labelled: LabelledTiles,
    held_out: Mapping[str, HeldOutPredictions],
    kind: SplitKind,
    model: _ReleasedModel,
) -> AssessmentReport:
    index, tested, predictor = labelled.index, held_out[kind], model.predictors["fp32"]
    sample = some_of(labelled.tiles, MAX_TILES)
    sampled = [index.tiles[i] for i in evenly_spaced(len(index.tiles), MAX_TILES)]
    side_px = sample.shape[1]
    ood_samples = draw_ood_samples(side_px)
    ood_embeddings = {
        kind: predictor.outputs(images).embedding for kind, images in ood_samples.items()
    }
    real = flag_tiles_out_of_fold(tested.appearances, tested.distances, tested.folds)
    files = read_files(tracked("Changing tiles")(sampled), labelled.data_dir)
    return AssessmentReport(
        source=f"{len(tested.truth)} out-of-fold predictions, split by {kind}",
        n_tiles=len(index.tiles),
        before=measure_calibration(tested.logits, tested.truth, 1.0),
        after=measure_calibration(tested.logits, tested.truth, tested.temperature),
        coverage=tuple(_coverage(held_out, kind)),
        real=flag_rate("real tiles", real),
        ood_samples=model.flag_rates(ood_samples),
        stains=model.flag_rates(in_other_stains(sample)),
        distance_methods=compare_distances(model.embeddings, model.slides, ood_embeddings),
        int8_verdicts_changed=_int8_changes(model, sample),
        selection=tuple(
            _selection(split, held_out[split])
            for split in dict.fromkeys((kind, "patient"))
            if split in held_out
        ),
        deletion=measure_deletion(predictor, tracked("Testing evidence maps")(list(sample))),
        robustness=measure_robustness(predictor, files, side_px),
    )


def _coverage(held_out: Mapping[str, HeldOutPredictions], kind: SplitKind) -> list[Coverage]:
    """By `kind` with thresholds from the other folds; by patient with the released thresholds."""
    tested = held_out[kind]
    rows = [
        measure_coverage_out_of_fold(kind, asked, tested.probabilities, tested.truth, tested.folds)
        for asked in COVERAGES
    ]
    if kind != "patient" and (by_patient := held_out.get("patient")) is not None:
        truth = by_patient.truth
        scores = [calibration_scores(tested.probabilities, tested.truth)]
        one_fold = np.zeros(len(truth), dtype=np.int64)
        rows += [
            measure_coverage("patient", asked, by_patient.probabilities, truth, scores, one_fold)
            for asked in COVERAGES
        ]
    return rows


def _selection(split: str, held_out: HeldOutPredictions) -> Selection:
    is_wrong = held_out.predicted != held_out.truth
    return Selection(
        split=split,
        n_tiles=len(is_wrong),
        n_wrong=int(is_wrong.sum()),
        points=risk_coverage(predictive_entropy(held_out.probabilities), is_wrong),
    )


def _int8_changes(model: _ReleasedModel, sample: NDArray[np.uint8]) -> int | None:
    """Tiles that the gate flags differently if the embedding comes from the int8 model."""
    if "int8" not in model.predictors:
        return None
    pairs = zip(model.flag(sample), model.flag(sample, "int8"), strict=True)
    return sum(fp32 != int8 for fp32, int8 in pairs)
