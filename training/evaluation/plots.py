"""Plots of an evaluation: confusion matrix, learning curves, reliability diagram."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.calibration import probabilities_from_logits
from app.core.manifest import SplitMetrics
from training.console.plural import plural
from training.data.label_set import LabelSet
from training.evaluation.calibration import reliability_bins
from training.evaluation.predictions import predictions_of
from training.runs.records import CrossValidation

BLUE: Final = "#2b5c8a"
ORANGE: Final = "#d9822b"
GREY: Final = "#8a8a8a"
_DPI: Final = 110
_LABEL_INCH: Final = 0.6
"""What each label beyond the third adds to a confusion matrix."""
_MOST_UPRIGHT: Final = 6
"""With more labels, their names would overlap below the matrix."""
_N_COLOURS: Final = 128
"""A palette makes a PNG a third of the size of one in full colour."""


def empty_figure(width_inch: float, height_inch: float) -> Any:
    """An empty Matplotlib figure. Unlike pyplot, it has no global state and needs no window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inch, height_inch), layout="constrained")


@contextmanager
def png_figure(path: Path, width_inch: float, height_inch: float) -> Iterator[Any]:
    """Yield an empty figure and write it to `path` at the end."""
    figure = empty_figure(width_inch, height_inch)
    yield figure
    stream = io.BytesIO()
    figure.savefig(stream, dpi=_DPI, format="png")
    image = Image.open(stream).convert("RGB")
    image.quantize(_N_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def label_axes(axes: Any, x: str, y: str = "") -> None:
    """Name the axes and hide the frame at the top and on the right."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)


def plot_confusion(path: Path, metrics: SplitMetrics, labels: LabelSet) -> None:
    """Plot counts by true and predicted label, shaded by the share of the true label."""
    names = [name.replace(" ", "\n", 1) for name in labels.names]
    wider = confusion_growth(len(labels))
    with png_figure(path, 4.8 + wider, 4.4 + wider) as figure:
        axes = figure.subplots()
        draw_confusion(axes, metrics.confusion, names, labels.colours)
        n_correct = int(np.trace(np.array(metrics.confusion)))
        title = f"split by {metrics.split}: {n_correct} of {metrics.n_tiles} correct"
        axes.set_title(title, fontsize=11)


def confusion_growth(n_labels: int) -> float:
    """Inches by which a figure of a confusion matrix is larger than one of three labels."""
    return max(0, n_labels - 3) * _LABEL_INCH


def draw_confusion(
    axes: Any,
    confusion: Sequence[Sequence[int]],
    names: Sequence[str],
    colours: Sequence[str | None],
    **tick_text: Any,
) -> None:
    """Draw a confusion matrix.

    Args:
        axes: of Matplotlib.
        confusion: counts, true labels in rows.
        names: of the labels.
        colours: of the labels' names; None is black.
        tick_text: style of the names.
    """
    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(len(names)), names, **tick_text)
    axes.set_yticks(range(len(names)), names, **tick_text)
    if len(names) > _MOST_UPRIGHT:
        axes.tick_params(axis="x", labelrotation=90)
    for position, name_colour in enumerate(colours):
        if name_colour is not None:
            for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
                ticks[position].set_color(name_colour)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=13)


def plot_epochs(path: Path, run: CrossValidation) -> None:
    """Plot loss and accuracy by epoch: the mean over folds and their range."""
    n_head = sum(record["phase"] != "fine_tune" for record in next(iter(run.history.values())))
    with png_figure(path, 8.4, 3.6) as figure:
        loss_axes, accuracy_axes = figure.subplots(1, 2)
        for axes, quantity in ((loss_axes, "loss"), (accuracy_axes, "accuracy")):
            for key, colour, name in (
                (quantity, BLUE, "training"),
                (f"test_{quantity}", ORANGE, "test"),
            ):
                epochs, mean, low, high = _spread_over_folds(run, key)
                axes.plot(epochs, mean, color=colour, label=name, marker=".", markersize=4)
                axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
            if n_head < int(epochs[-1]):
                _mark_fine_tuning(axes, n_head + 0.5)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_ylim(bottom=0.0, top=1.02 if quantity == "accuracy" else None)
            label_axes(axes, "epoch", quantity)
        accuracy_axes.legend(frameon=False, loc="lower right")
        folds = plural(len(run.folds), "fold")
        figure.suptitle(f"split by {run.kind}, {folds}: mean and range", fontsize=11)


def plot_comparison(path: Path, runs: Mapping[str, CrossValidation]) -> None:
    """Plot loss and accuracy of several runs by epoch, as means over folds; training is dashed."""
    with png_figure(path, 8.4, 3.9) as figure:
        loss_axes, accuracy_axes = figure.subplots(1, 2)
        for axes, quantity in ((loss_axes, "loss"), (accuracy_axes, "accuracy")):
            for number, (name, run) in enumerate(runs.items()):
                for key, style in ((f"test_{quantity}", "-"), (quantity, "--")):
                    epochs, mean, _, _ = _spread_over_folds(run, key)
                    label = f"{name} ({run.kind})" if style == "-" else None
                    axes.plot(epochs, mean, style, color=f"C{number}", label=label, marker=".")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_ylim(bottom=0.0, top=1.02 if quantity == "accuracy" else None)
            label_axes(axes, "epoch", quantity)
        accuracy_axes.legend(frameon=False, loc="lower right", fontsize=8)
        figure.suptitle("test tiles; training tiles dashed", fontsize=11)


def plot_reliability(path: Path, run: CrossValidation, temperature: float) -> None:
    """Plot accuracy against confidence, before and after temperature scaling."""
    predictions = predictions_of(run)
    with png_figure(path, 4.4, 4.2) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
        for value, colour, name in ((1.0, ORANGE, "before"), (temperature, BLUE, "after")):
            probabilities = probabilities_from_logits(predictions.logits, value)
            bins = reliability_bins(probabilities, predictions.truth)
            confidence, accuracy, share = np.array(bins).T
            label = f"{name} (temperature {value:.2f})"
            axes.plot(confidence, accuracy, color=colour, linewidth=1.0, label=label)
            axes.scatter(confidence, accuracy, s=400 * share, color=colour, alpha=0.6, linewidth=0)
        # With four labels or more, the largest probability can be lower than 0.3.
        axes.set_xlim(min(0.3, 0.9 / predictions.logits.shape[1]), 1.02)
        axes.set_ylim(0.0, 1.05)
        label_axes(axes, "confidence (largest probability)", "accuracy")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        axes.set_title(f"split by {run.kind}; area: share of tiles", fontsize=10)


def _mark_fine_tuning(axes: Any, start_epoch: float) -> None:
    axes.axvline(start_epoch, color=GREY, linewidth=0.8, linestyle="--")
    axes.annotate(
        "fine-tuning",
        (start_epoch, 0.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, 6),
        textcoords="offset points",
        color=GREY,
        fontsize=8,
    )


def _spread_over_folds(run: CrossValidation, key: str) -> NDArray[np.float64]:
    """Epoch (from 1, over both phases), mean, minimum and maximum of a quantity: `[4, epochs]`."""
    by_epoch: dict[int, list[float]] = defaultdict(list)
    for records in run.history.values():
        for epoch, record in enumerate(records, start=1):
            by_epoch[epoch].append(record[key])
    rows = [(e, np.mean(v), np.min(v), np.max(v)) for e, v in sorted(by_epoch.items())]
    return np.array(rows, dtype=np.float64).T
