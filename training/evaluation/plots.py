"""The pictures of an evaluation: confusion matrix, loss and accuracy by epoch, reliability."""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.calibration import probabilities_from_logits
from app.core.manifest import SplitMetrics
from training.data.labels import LABELS
from training.evaluation.metrics import outcome_of, reliability_bins
from training.runs.records import CrossValidation

_DPI = 110
_N_COLOURS = 128
_BLUE, _ORANGE, _GREY = "#2b5c8a", "#d9822b", "#8a8a8a"


def plot_confusion(path: Path, metrics: SplitMetrics) -> None:
    """Counts by true and answered label, shaded by the share of the true label."""
    counts = np.array(metrics.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = new_figure(4.8, 4.4)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    names = [label.name.replace(" ", "\n", 1) for label in LABELS]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=13)
    right = int(np.trace(counts))
    axes.set_title(f"split by {metrics.split}: {right} of {metrics.n_tiles} right", fontsize=11)
    save_figure(figure, path)


def plot_epochs(path: Path, run: CrossValidation) -> None:
    """Loss and accuracy by epoch, the mean over folds with the range between them."""
    figure = new_figure(8.4, 3.6)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    n_head = sum(record["phase"] != "fine_tune" for record in next(iter(run.history.values())))
    for axes, quantity in ((loss_axes, "loss"), (accuracy_axes, "accuracy")):
        for key, colour, name in (
            (quantity, _BLUE, "training"),
            (f"test_{quantity}", _ORANGE, "test"),
        ):
            epochs, mean, low, high = _spread_over_folds(run, key)
            axes.plot(epochs, mean, color=colour, label=name, marker=".", markersize=4)
            axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
        if n_head < int(epochs[-1]):
            axes.axvline(n_head + 0.5, color=_GREY, linewidth=0.8, linestyle="--")
            axes.annotate(
                "fine-tuning",
                (n_head + 0.5, 0.0),
                xycoords=("data", "axes fraction"),
                xytext=(4, 6),
                textcoords="offset points",
                color=_GREY,
                fontsize=8,
            )
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(quantity)
        axes.set_ylim(bottom=0.0, top=1.02 if quantity == "accuracy" else None)
        axes.spines[["top", "right"]].set_visible(False)
    accuracy_axes.legend(frameon=False, loc="lower right")
    figure.suptitle(f"split by {run.kind}, {len(run.folds)} fold(s): mean and range", fontsize=11)
    save_figure(figure, path)


def plot_reliability(path: Path, run: CrossValidation, temperature: float) -> None:
    """Accuracy against confidence, before and after the temperature."""
    figure = new_figure(4.4, 4.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle="--")
    outcome = outcome_of(run)
    for value, colour, name in ((1.0, _ORANGE, "before"), (temperature, _BLUE, "after")):
        bins = reliability_bins(probabilities_from_logits(outcome.logits, value), outcome.truth)
        confidence, accuracy, share = np.array(bins).T
        label = f"{name} (temperature {value:.2f})"
        axes.plot(confidence, accuracy, color=colour, linewidth=1.0, label=label)
        axes.scatter(confidence, accuracy, s=400 * share, color=colour, alpha=0.6, linewidth=0)
    axes.set_xlim(0.3, 1.02)
    axes.set_ylim(0.0, 1.05)
    axes.set_xlabel("confidence (largest probability)")
    axes.set_ylabel("accuracy")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.set_title(f"split by {run.kind}; area: share of tiles", fontsize=10)
    save_figure(figure, path)


def new_figure(width_inch: float, height_inch: float) -> Any:
    """An empty Matplotlib figure of this size."""
    # `Figure` and not pyplot: no global state, no window, nothing to close.
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inch, height_inch), layout="constrained")


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as a PNG with a palette, a third of the size of one in full colour."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=_DPI, format="png")
    picture = Image.open(stream).convert("RGB")
    picture.quantize(_N_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def _spread_over_folds(run: CrossValidation, key: str) -> NDArray[np.float64]:
    """Rows epoch (from 1, both phases in a row), mean, least and greatest value of a quantity."""
    by_epoch: dict[int, list[float]] = defaultdict(list)
    for records in run.history.values():
        for epoch, record in enumerate(records, start=1):
            by_epoch[epoch].append(record[key])
    rows = [(e, np.mean(v), np.min(v), np.max(v)) for e, v in sorted(by_epoch.items())]
    return np.array(rows, dtype=np.float64).T
