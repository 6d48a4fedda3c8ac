"""Plots of an assessment: risk-coverage curve and robustness."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from training.evaluation.plots import BLUE, GREY, ORANGE, label_axes, png_figure
from training.reliability.assessment_report import AssessmentReport

_COLOURS: Final = {"slide": BLUE, "patient": ORANGE, "random": GREY}


def plot_risk_coverage(path: Path, report: AssessmentReport) -> None:
    """Plot the accuracy of the answered tiles against the share sent to review, by split."""
    with png_figure(path, 5.4, 3.6) as figure:
        axes = figure.subplots()
        for selection in report.selection:
            known = [(p.reviewed, p.accuracy) for p in selection.points if p.accuracy is not None]
            reviewed, accuracy = 100 * np.array(known).T
            label = f"split by {selection.split}, {selection.n_tiles} tiles"
            axes.plot(reviewed, accuracy, marker="o", color=_COLOURS[selection.split], label=label)
        axes.set_ylim(0, 102)
        label_axes(axes, "tiles sent to review, %", "accuracy of the others, %")
        axes.legend(frameon=False, loc="lower right")


def plot_robustness(path: Path, report: AssessmentReport) -> None:
    """Plot, for each change, the share of unchanged predictions and the change of probability."""
    entries = report.robustness[::-1]
    names = [entry.change for entry in entries]
    with png_figure(path, 7.2, 5.2) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        left.barh(names, [100 * entry.unchanged for entry in entries], color=BLUE)
        left.set_xlim(0, 100)
        label_axes(left, "predictions unchanged, %")
        right.barh(names, [entry.mean_difference for entry in entries], color=ORANGE)
        label_axes(right, "mean change of probability")
        for axes in (left, right):
            axes.tick_params(labelsize=8)
