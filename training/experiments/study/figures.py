"""The paper's Figures 3, 4 and 5, drawn from the numbers of a study."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from training.console.plural import plural
from training.data.label_set import LabelSet
from training.evaluation.plots import confusion_growth, draw_confusion, empty_figure, label_axes
from training.experiments.study.journal import FinishedRun
from training.experiments.study.paper import (
    FIGURE_3_BEST,
    OVERFITS_FROM_EPOCH,
    title_in_figure_3,
)
from training.experiments.study.results import Spread

_DPI: Final = 100
_COLOURS: Final = ("#2b5c8a", "#d9822b", "#4f8f4a", "#8c4a8f", "#8a8a8a", "#b03a3a")
_GREY: Final = "#8a8a8a"


def draw_figure_3(
    cells: dict[tuple[str, int, float], Spread], caption: str, not_run: Sequence[str] = ()
) -> bytes:
    """Mean accuracy by learning rate: one panel for each number of epochs, one line each system.

    Args:
        cells: by system, epochs and learning rate; bars reach from the lowest to the highest run.
        caption: runs and tiles behind the figure.
        not_run: systems that the legend names without a line.

    Returns:
        A PNG.
    """
    systems = list(dict.fromkeys(system for system, _, _ in cells))
    numbers = sorted({epochs for _, epochs, _ in cells})
    rates = sorted({rate for _, _, rate in cells})
    figure = empty_figure(3.6 * len(numbers) + 0.6, 4.3)
    panels = figure.subplots(1, len(numbers), sharey=True, squeeze=False)[0]
    for axes, epochs in zip(panels, numbers, strict=True):
        for number, system in enumerate(systems):
            known = [i for i, rate in enumerate(rates) if (system, epochs, rate) in cells]
            spreads = [cells[system, epochs, rates[i]] for i in known]
            means = np.array([spread.mean for spread in spreads])
            reach = [means - [s.low for s in spreads], [s.high for s in spreads] - means]
            shift = 0.06 * (number - (len(systems) - 1) / 2)
            axes.errorbar(
                np.array(known) + shift,
                means,
                yerr=reach,
                color=_COLOURS[number % len(_COLOURS)],
                marker="o",
                markersize=4,
                linewidth=1.2,
                elinewidth=0.7,
                capsize=2,
                label=title_in_figure_3(system),
            )
        best = f"the paper's best, {FIGURE_3_BEST:.2f}"
        axes.axhline(FIGURE_3_BEST, color=_GREY, linestyle="--", linewidth=0.8, label=best)
        for system in not_run:
            axes.plot([], [], linestyle="none", label=f"{title_in_figure_3(system)}: not run")
        axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
        axes.set_title(plural(epochs, "epoch"), fontsize=10)
        axes.set_ylim(0.0, 1.02)
        label_axes(axes, "learning rate")
    panels[0].set_ylabel("accuracy")
    # Matplotlib lists lines before error bars; the systems that are shown come first here.
    listed = list(zip(*panels[-1].get_legend_handles_labels(), strict=True))
    listed = listed[-len(systems) :] + listed[: -len(systems)]
    # Below the panels: with several systems there is no free place in them.
    figure.legend(
        *zip(*listed, strict=True),
        loc="outside lower center",
        ncols=len(systems),
        frameon=False,
        fontsize=8,
    )
    figure.suptitle(caption, fontsize=9)
    return _png(figure)


def draw_figure_4(record: FinishedRun, caption: str) -> bytes:
    """Accuracy by epoch of one run, training and test; the best epoch is marked."""
    epochs = np.arange(1, len(record.accuracy) + 1)
    figure = empty_figure(6.4, 3.9)
    axes = figure.subplots()
    axes.plot(
        epochs, record.accuracy, color=_COLOURS[0], label="training (views, during the epoch)"
    )
    axes.plot(epochs, record.test_accuracy, color=_COLOURS[1], label="test")
    best = record.best_epoch
    axes.plot([best], [record.best_accuracy], "o", color=_COLOURS[1], markersize=7)
    axes.annotate(
        f"best epoch {best}: {record.best_accuracy:.3f}",
        (best, record.best_accuracy),
        textcoords="offset points",
        xytext=(8, -14),
        fontsize=8,
    )
    if len(epochs) > OVERFITS_FROM_EPOCH:
        paper = f"the paper overfits from epoch {OVERFITS_FROM_EPOCH}"
        axes.axvline(OVERFITS_FROM_EPOCH, color=_GREY, linestyle="--", linewidth=0.8, label=paper)
    axes.set_ylim(0.0, 1.03)
    label_axes(axes, "epoch", "accuracy")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.set_title(caption, fontsize=9)
    return _png(figure)


def draw_figure_5(confusion: Sequence[Sequence[int]], labels: LabelSet, caption: str) -> bytes:
    """Counts by true and predicted class, in the order of the labels."""
    wider = confusion_growth(len(labels))
    figure = empty_figure(4.8 + wider, 4.6 + wider)
    axes = figure.subplots()
    names = [f"{i}\n{name.lower()}" for i, name in enumerate(labels.names)]
    draw_confusion(axes, confusion, names, labels.colours, fontsize=8)
    axes.set_title(caption, fontsize=9)
    return _png(figure)


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    # Without the software's version, the same numbers give the same picture.
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()
