"""Give a bundle what it needs to doubt itself: record, reference tiles, report and plots."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from app.core.assessment_record import AssessmentRecord
from app.core.manifest import INT8_NAME, LITERT_NAME
from app.core.reference_tiles import REFERENCE_NAME
from training.data.labelled_tiles import LabelledTiles
from training.data.labels import LABEL_IDS
from training.features.reference_tiles import choose_reference
from training.reliability.assessment_record import build_record
from training.reliability.measure import measure_bundle, some_seen
from training.reliability.out_of_fold import evidence_of
from training.reliability.plots import plot_risk_coverage, plot_robustness
from training.reliability.predictor import Predictor
from training.reliability.report import AssessmentReport, write_report
from training.runs.records import CrossValidation

_PLOTS_NAME: Final = "plots"


def assess_bundle(
    bundle_dir: Path,
    labelled: LabelledTiles,
    runs: Sequence[CrossValidation],
    temperature: float,
    has_int8: bool,
) -> tuple[AssessmentRecord, AssessmentReport]:
    """Fit and measure; write `reference.npz`, `assessment.json` and two plots into the bundle.

    Args:
        bundle_dir: holds the LiteRT files.
        labelled: the tiles that were trained on.
        runs: cross-validations; one by slide is among them.
        temperature: of the bundle.
        has_int8: whether there is a quantised file to compare with.

    Returns:
        What the manifest holds, and what the card is written from.
    """
    by_slide = next(run for run in runs if run.kind == "slide")
    record = build_record(evidence_of(by_slide, labelled, temperature), LABEL_IDS)
    files = {"fp32": LITERT_NAME} | ({"int8": INT8_NAME} if has_int8 else {})
    with ExitStack() as stack:
        predictors = {
            precision: stack.enter_context(Predictor(bundle_dir / name, temperature))
            for precision, name in files.items()
        }
        seen = some_seen(labelled, predictors["fp32"])
        choose_reference(seen.embeddings).write(bundle_dir / REFERENCE_NAME)
        report = measure_bundle(labelled, seen, runs, record.gate, predictors, temperature)
    write_report(bundle_dir, report)
    plot_risk_coverage(bundle_dir / _PLOTS_NAME / "risk-coverage.png", report)
    plot_robustness(bundle_dir / _PLOTS_NAME / "robustness.png", report)
    return record, report
