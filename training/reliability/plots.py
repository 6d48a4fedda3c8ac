"""Pictures of a bundle's doubts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from training.evaluation.plots import new_figure, save_figure
from training.reliability.report import AssessmentReport

_COLOURS: Final = {"slide": "#2b5c8a", "patient": "#d9822b"}


def plot_risk_coverage(path: Path, report: AssessmentReport) -> None:
    """Accuracy of what is answered, against the share of tiles sent to review, by split."""
    figure = new_figure(5.4, 3.6)
    axes = figure.subplots()
    for selection in report.selection:
        known = [(p.reviewed, p.accuracy) for p in selection.points if p.accuracy is not None]
        reviewed, accuracy = 100 * np.array(known).T
        label = f"split by {selection.split}, {selection.n_tiles} tiles"
        axes.plot(reviewed, accuracy, marker="o", color=_COLOURS[selection.split], label=label)
    axes.set_xlabel("tiles sent to review, %")
    axes.set_ylabel("accuracy of the others, %")
    axes.set_ylim(0, 102)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    save_figure(figure, path)


def plot_robustness(path: Path, report: AssessmentReport) -> None:
    """Share of unchanged predictions by change, with the mean change of probability beside."""
    entries = report.robustness[::-1]
    figure = new_figure(7.2, 5.2)
    left, right = figure.subplots(1, 2, sharey=True)
    names = [entry.change for entry in entries]
    left.barh(names, [100 * entry.unchanged for entry in entries], color=_COLOURS["slide"])
    left.set_xlabel("predictions unchanged, %")
    left.set_xlim(0, 100)
    right.barh(names, [entry.mean_difference for entry in entries], color=_COLOURS["patient"])
    right.set_xlabel("mean change of probability")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    save_figure(figure, path)
