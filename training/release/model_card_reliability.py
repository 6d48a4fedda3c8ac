"""The model card's sections on doubt, written from `assessment.json`."""

from __future__ import annotations

from training.console.markdown import markdown_table
from training.evaluation.split_tables import UNAVAILABLE, percent
from training.reliability.cam_deletion import DELETED_SHARE
from training.reliability.flag_rates import Flagged
from training.reliability.report import AssessmentReport


def assessment_sections(report: AssessmentReport) -> list[str]:
    """Markdown sections: calibration, sets, gate, review, maps, robustness."""
    return [
        _calibration(report),
        _prediction_sets(report),
        _gate(report),
        _review(report),
        _maps(report),
        _robustness(report),
    ]


def _calibration(report: AssessmentReport) -> str:
    rows = [
        [when, f"{entry.temperature:g}", *(f"{v:.3f}" for v in values)]
        for when, entry in (("before", report.before), ("after", report.after))
        for values in [(entry.ece, entry.brier, entry.log_loss)]
    ]
    return (
        "## Calibration\n\n"
        f"One temperature (Guo et al. 2017), fitted on {report.source}; 'after' is measured on the "
        "answers it was fitted on.\n\n"
        + markdown_table(["", "temperature", "ECE (10 bins)", "Brier score", "log loss"], rows)
        + "\n\n![reliability](plots/reliability-slide.png)"
    )


def _prediction_sets(report: AssessmentReport) -> str:
    rows = [
        [
            entry.split,
            percent(entry.asked),
            percent(entry.covered),
            UNAVAILABLE
            if entry.low is None or entry.high is None
            else f"{percent(entry.low)} to {percent(entry.high)}",
            UNAVAILABLE if entry.mean_labels is None else f"{entry.mean_labels:.2f}",
        ]
        for entry in report.coverage
    ]
    header = ["split", "coverage asked", "covered", "95 % interval", "labels a set"]
    return (
        "## Prediction sets\n\n"
        "Split-conformal, adaptive scores (Romano et al. 2020), calibrated on the out-of-fold "
        "answers of the slide split. By slide every fold is scored with the threshold of the "
        "others; by patient with the released threshold, on patients the model never saw, where "
        "nothing guarantees the coverage: tiles of a new patient are not like these. "
        "Intervals are binomial and take tiles as independent; those of one slide are not.\n\n"
        + markdown_table(header, rows)
    )


def _gate(report: AssessmentReport) -> str:
    kinds = [report.real, *report.outsiders]
    rows = [_flagged_row(entry) for entry in kinds]
    stains = [_flagged_row(entry) for entry in report.stains]
    header = ["pictures", "n", "flagged", "95 % interval", "reasons"]
    methods = [
        [name, *(percent(share) for share in by_kind.values())]
        for name, by_kind in report.distance_methods.items()
    ]
    first = next(iter(report.distance_methods.values()), {})
    int8 = (
        ""
        if report.int8_verdicts_changed is None
        else f"\n\nVerdicts that the int8 file changes: {report.int8_verdicts_changed}."
    )
    return (
        "## Is it an H&E tile at all?\n\n"
        "Checks of the picture and the distance of its embedding from the training tiles; limits "
        "fitted on real tiles with a margin. Real tiles are judged by limits and distances of the "
        "folds that did not hold them. The other pictures are drawn by a program or cut from "
        "three photographs; they are not tiles.\n\n"
        + markdown_table(header, rows)
        + "\n\nReal tiles in the colours of other stains, imitated by colour separation:\n\n"
        + markdown_table(header, stains)
        + "\n\nThe distance alone, at the furthest real tile of another slide:\n\n"
        + markdown_table(["distance", *first], methods)
        + int8
    )


def _review(report: AssessmentReport) -> str:
    rows = [
        [
            selection.split,
            percent(point.reviewed),
            str(point.n_answered),
            percent(point.accuracy),
            percent(point.wrong_caught),
        ]
        for selection in report.selection
        for point in selection.points
    ]
    counts = "; ".join(f"{s.n_wrong} of {s.n_tiles} by {s.split}" for s in report.selection)
    header = ["split", "sent to review", "answered", "accuracy of these", "wrong answers caught"]
    return (
        "## Review\n\n"
        "Tiles in the order of their need of review (entropy of the probabilities): what remains "
        f"right as more of them are looked at by a person. Wrong answers in all: {counts}.\n\n"
        + markdown_table(header, rows)
        + "\n\n![risk and coverage](plots/risk-coverage.png)"
    )


def _maps(report: AssessmentReport) -> str:
    deletion = report.deletion
    return (
        "## Evidence maps\n\n"
        f"Greying the highest {DELETED_SHARE:.0%} of the predicted label's map takes "
        f"{deletion.lost_by_map:.3f} of its probability; greying as much at random takes "
        f"{deletion.lost_by_chance:.3f}, greying the same shape elsewhere "
        f"{deletion.lost_by_shape:.3f} (means of {deletion.n_tiles} training tiles; grey is the "
        "tile's mean colour). Scattered "
        "squares do harm by their edges, so the same shape is the fairer comparison: the map beats "
        f"it on {percent(deletion.map_beats_shape)} of the tiles. Where the difference is small, "
        "read the maps as a hint and not as a reason."
    )


def _robustness(report: AssessmentReport) -> str:
    rows = [
        [
            entry.change,
            percent(entry.unchanged),
            f"{entry.mean_difference:.3f}",
            f"{entry.max_difference:.3f}",
        ]
        for entry in report.robustness
    ]
    n_tiles = report.robustness[0].n_tiles if report.robustness else 0
    header = ["change", "predictions unchanged", "mean change of probability", "largest"]
    return (
        "## Robustness\n\n"
        f"What changes when nothing of the tissue does, on {n_tiles} training tiles: on tiles the "
        "model has learned its answers are firmer than on new ones. `osteo-train robustness` "
        "measures it on any index.\n\n"
        + markdown_table(header, rows)
        + "\n\n![robustness](plots/robustness.png)"
    )


def _flagged_row(entry: Flagged) -> list[str]:
    reasons = ", ".join(
        f"`{reason}` {percent(share)}"
        for reason, share in sorted(entry.by_reason.items(), key=lambda item: -item[1])
    )
    interval = f"{percent(entry.low)} to {percent(entry.high)}"
    return [entry.kind, str(entry.n_pictures), percent(entry.flagged), interval, reasons or "none"]
