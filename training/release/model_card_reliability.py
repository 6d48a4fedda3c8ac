"""The model card's sections on reliability, written from `assessment.json`."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.manifest import SplitKind
from app.core.provenance import Recalibration
from training.console.markdown import markdown_table
from training.console.plural import plural
from training.evaluation.calibration import CalibrationQuality
from training.evaluation.split_tables import UNAVAILABLE, interval, number, percent
from training.reliability.assessment_report import AssessmentReport
from training.reliability.cam_deletion import DELETED_SHARE
from training.reliability.flag_rates import FlagRate
from training.reliability.own_tiles import MOVED, OwnTiles


def section(title: str, *paragraphs: str) -> str:
    """A Markdown section without a trailing newline."""
    return "\n\n".join([f"## {title}", *paragraphs])


def assessment_sections(report: AssessmentReport, calibrated_by: SplitKind = "slide") -> list[str]:
    """Sections on calibration, prediction sets, input gate, review, evidence maps, robustness.

    Args:
        report: the measurements.
        calibrated_by: the kind of split whose predictions the temperature was fitted on.
    """
    return [
        _calibration(report, calibrated_by),
        _prediction_sets(report, calibrated_by),
        _input_gate(report),
        _review(report),
        _evidence_maps(report),
        _robustness(report),
    ]


def own_tiles_paragraphs(own: OwnTiles | None) -> list[str]:
    """What the model answers on its own training tiles, and what that does not mean."""
    if own is None:
        return []
    drift = ", ".join(f"{value:.2f} ({quantity})" for quantity, value in own.drift.items())
    trip = "trip" if max(own.drift.values()) > MOVED else "can trip"
    return [
        f"The released model is right on {own.n_correct} of {own.n_tiles} of its own training "
        "tiles. That shows how well it remembers them, and says nothing about other tiles: the "
        "splits above do. Testing the bundle on tiles that it was trained on repeats this number.",
        f"Training tiles {trip} the drift monitor, whose reference is out-of-fold answers: their "
        f"population stability index is {drift}, and the alert fires above {MOVED:g}. A model is "
        "surer of tiles that it was trained on, and they lie nearer to its reference tiles.",
    ]


def recalibration_section(
    version: str,
    recalibration: Recalibration,
    qualities: Sequence[CalibrationQuality],
    gate: str,
) -> str:
    """The section to append to the card of a recalibrated bundle.

    Args:
        version: the new version.
        recalibration: what it was calibrated on.
        qualities: calibration on the site's tiles, before and after.
        gate: what became of the input gate, as a predicate.
    """
    text = section(
        f"Recalibrated as version {version}",
        f"Calibrated on {recalibration.n_tiles} labelled tiles of a site (index "
        f"{recalibration.index_sha256[:12]}), with the graphs of version "
        f"{recalibration.parent_version}. The numbers above were not measured again and apply to "
        "the previous temperature. Prediction sets and drift reference come from the site's tiles. "
        f"The input gate {gate}. 'After' is measured on the tiles that the temperature was fitted "
        "on.",
        _calibration_table(*qualities),
    )
    return f"\n{text}\n"


def _calibration(report: AssessmentReport, calibrated_by: SplitKind) -> str:
    return section(
        "Calibration",
        f"One temperature (Guo et al. 2017), fitted on {report.source}. 'After' is measured on the "
        "same predictions.",
        _calibration_table(report.before, report.after),
        f"![Reliability diagram](plots/reliability-{calibrated_by}.png)",
    )


def _calibration_table(*qualities: CalibrationQuality) -> str:
    rows = [
        [when, f"{q.temperature:g}", number(q.ece), number(q.brier), number(q.log_loss)]
        for when, q in zip(("before", "after"), qualities, strict=True)
    ]
    return markdown_table(["", "temperature", "ECE (10 bins)", "Brier score", "log loss"], rows)


def _prediction_sets(report: AssessmentReport, calibrated_by: SplitKind) -> str:
    rows = [
        [
            entry.split,
            percent(entry.asked),
            percent(entry.covered),
            interval(entry.low, entry.high),
            UNAVAILABLE if entry.mean_labels is None else f"{entry.mean_labels:.2f}",
        ]
        for entry in report.coverage
    ]
    header = ["split", "coverage asked", "covered", "95 % interval", "labels a set"]
    has_patients = calibrated_by != "patient" and any(e.split == "patient" for e in report.coverage)
    patients = (
        "The patient rows score patients that the model was not trained on with the released "
        "threshold; the coverage is not guaranteed there, because a new patient's tiles differ "
        "from the calibration set. "
    )
    return section(
        "Prediction sets",
        "Split-conformal prediction with the least ambiguous sets (Sadinle et al. 2019), whose "
        "score is one minus a label's probability, calibrated on the "
        f"out-of-fold predictions of the {calibrated_by} split. The {calibrated_by} rows score "
        "each fold with the threshold of the other folds. "
        f"{patients if has_patients else ''}The intervals are binomial and treat "
        "tiles as independent, which tiles of one slide are not.",
        markdown_table(header, rows),
    )


def _input_gate(report: AssessmentReport) -> str:
    header = ["images", "n", "flagged", "95 % interval", "reasons"]
    methods = [
        [name, *(percent(share) for share in by_kind.values())]
        for name, by_kind in report.distance_methods.items()
    ]
    kinds = next(iter(report.distance_methods.values()), {})
    n_changed = report.int8_verdicts_changed
    int8 = [] if n_changed is None else [f"Verdicts that the int8 file changes: {n_changed}."]
    return section(
        "Is it an H&E tile at all?",
        "The input gate checks the appearance of a tile and the distance of its embedding from the "
        "training tiles. Its limits are fitted to real tiles, with a margin. Real tiles are scored "
        "with the limits and distances of folds that did not contain them. The other images are "
        "not tiles: a program drew them or cut them from three photographs.",
        markdown_table(header, [_flag_row(entry) for entry in (report.real, *report.ood_samples)]),
        "Real tiles in the colours of other stains, imitated by colour separation:",
        markdown_table(header, [_flag_row(entry) for entry in report.stains]),
        "The distance alone, with the farthest real tile of another slide as the limit:",
        markdown_table(["distance", *kinds], methods),
        *int8,
    )


def _flag_row(entry: FlagRate) -> list[str]:
    reasons = ", ".join(
        f"`{reason}` {percent(share)}"
        for reason, share in sorted(entry.by_reason.items(), key=lambda item: -item[1])
    )
    flagged = [percent(entry.flagged), interval(entry.low, entry.high)]
    return [entry.kind, str(entry.n_pictures), *flagged, reasons or "none"]


def _review(report: AssessmentReport) -> str:
    rows = [
        [
            s.split,
            percent(p.reviewed),
            str(p.n_answered),
            percent(p.accuracy),
            percent(p.wrong_caught),
        ]
        for s in report.selection
        for p in s.points
    ]
    counts = "; ".join(f"{s.n_wrong} of {s.n_tiles} by {s.split}" for s in report.selection)
    header = ["split", "sent to review", "answered", "accuracy of these", "wrong answers caught"]
    return section(
        "Review",
        "Selective prediction: the tiles with the highest entropy are sent to review, and the "
        f"model answers the others. Wrong predictions without review: {counts}.",
        markdown_table(header, rows),
        "![Risk-coverage curve](plots/risk-coverage.png)",
    )


def _evidence_maps(report: AssessmentReport) -> str:
    deletion = report.deletion
    return section(
        "Evidence maps",
        f"Deletion test (Petsiuk et al. 2018) on {plural(deletion.n_tiles, 'training tile')}: "
        f"replacing the highest {DELETED_SHARE:.0%} of the predicted label's evidence map with the "
        f"tile's mean colour lowers its probability by {deletion.lost_by_map:.3f} on average. "
        f"Replacing as many random cells lowers it by {deletion.lost_by_chance:.3f}, replacing the "
        f"same shape elsewhere by {deletion.lost_by_shape:.3f}. The same shape is the fairer "
        "comparison, because the edges of scattered squares lower the probability too; the map "
        f"exceeds it on {percent(deletion.map_beats_shape)} of the tiles. If the difference is "
        "small, treat the maps as hints, not as reasons.",
    )


def _robustness(report: AssessmentReport) -> str:
    rows = [
        [e.change, percent(e.unchanged), number(e.mean_difference), number(e.max_difference)]
        for e in report.robustness
    ]
    n_tiles = report.robustness[0].n_tiles if report.robustness else 0
    header = ["change", "predictions unchanged", "mean change of probability", "largest"]
    return section(
        "Robustness",
        "Effect of changes that do not alter the tissue, measured on "
        f"{plural(n_tiles, 'training tile')}. Predictions on new tiles are less stable than on "
        "tiles that the model was trained on; `osteo-train robustness` measures any index.",
        markdown_table(header, rows),
        "![Robustness](plots/robustness.png)",
    )
