"""Metrics of out-of-fold predictions. A metric that cannot be measured is None, never 0 or 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.core.calibration import probabilities_from_logits
from app.core.manifest import ClassMetrics, FoldMetrics, SplitMetrics
from training.data.label_set import LabelSet
from training.evaluation.calibration import expected_calibration_error, log_loss
from training.evaluation.intervals import accuracy_interval, macro_f1_interval
from training.evaluation.predictions import Predictions, predictions_of
from training.runs.records import CrossValidation


def evaluate(run: CrossValidation, temperature: float = 1.0, seed: int = 0) -> SplitMetrics:
    """Measure a cross-validation with all folds pooled.

    Args:
        run: the cross-validation.
        temperature: applied before ECE and log loss are measured.
        seed: seed of the bootstrap.
    """
    predictions, labels = predictions_of(run), run.config.labels
    confusion = confusion_matrix(predictions.truth, predictions.predicted, len(labels))
    classes = _class_metrics(confusion, labels.ids)
    f1_low, f1_high = macro_f1_interval(predictions, seed)
    tumor_precision, tumor_recall = tumor_metrics(confusion, labels.tumor_classes)
    low, high = accuracy_interval(predictions, seed)
    probabilities = probabilities_from_logits(predictions.logits, temperature)
    return SplitMetrics(
        split=run.kind,
        split_sha256=run.split_sha256,
        n_folds=len(run.folds),
        n_tiles=len(run.answers),
        accuracy=float(np.trace(confusion) / confusion.sum()),
        accuracy_low=low,
        accuracy_high=high,
        macro_f1=_mean_of([entry.f1 for entry in classes]),
        macro_f1_low=f1_low,
        macro_f1_high=f1_high,
        balanced_accuracy=_mean_of([entry.recall for entry in classes]),
        tumor_precision=tumor_precision,
        tumor_recall=tumor_recall,
        ece=expected_calibration_error(probabilities, predictions.truth),
        log_loss=log_loss(probabilities, predictions.truth),
        classes=classes,
        folds=tuple(
            _fold_metrics(predictions.of_fold(name), name, labels, seed) for name in run.folds
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def confusion_matrix(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], n_labels: int
) -> NDArray[np.int64]:
    """Counts, int64 `[C, C]`: row i, column j holds tiles of label i predicted as label j."""
    counts = np.zeros((n_labels, n_labels), dtype=np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def tumor_metrics(
    confusion: NDArray[np.int64], tumor_classes: Sequence[int]
) -> tuple[float | None, float | None]:
    """Precision and recall of tumour against non-tumour; all tumour labels count as one.

    Both are None if no label, or every label, is tumour.
    """
    tumor = list(tumor_classes)
    if len(tumor) in (0, len(confusion)):
        return None, None
    correct = confusion[np.ix_(tumor, tumor)].sum()
    support, predicted = confusion[tumor].sum(), confusion[:, tumor].sum()
    precision = float(correct / predicted) if predicted and support else None
    return precision, float(correct / support) if support else None


def _mean_of(values: Sequence[float | None]) -> float:
    """Mean of the values that were measured; every split has tiles of at least one label."""
    return float(np.mean([value for value in values if value is not None]))


def _class_metrics(confusion: NDArray[np.int64], ids: Sequence[str]) -> tuple[ClassMetrics, ...]:
    return tuple(_metrics_of_class(confusion, i, label) for i, label in enumerate(ids))


def _metrics_of_class(confusion: NDArray[np.int64], i: int, label: str) -> ClassMetrics:
    correct, support, predicted = confusion[i, i], confusion[i].sum(), confusion[:, i].sum()
    if support == 0:
        return ClassMetrics(label=label, support=0, precision=None, recall=None, f1=None)
    return ClassMetrics(
        label=label,
        support=int(support),
        precision=float(correct / predicted) if predicted else None,
        recall=float(correct / support),
        f1=float(2 * correct / (support + predicted)),
    )


def _fold_metrics(fold: Predictions, name: str, labels: LabelSet, seed: int) -> FoldMetrics:
    counts = Counter(labels.ids[i] for i in fold.truth)
    confusion = confusion_matrix(fold.truth, fold.predicted, len(labels))
    classes = _class_metrics(confusion, labels.ids)
    has_several_slides = len(set(fold.slides)) > 1  # one slide cannot be resampled
    low, high = accuracy_interval(fold, seed) if has_several_slides else (None, None)
    return FoldMetrics(
        name=name,
        n_tiles=len(fold.truth),
        accuracy=float((fold.predicted == fold.truth).mean()),
        support={label: counts[label] for label in labels.ids},
        accuracy_low=low,
        accuracy_high=high,
        macro_f1=_mean_of([entry.f1 for entry in classes]),
        classes=classes,
    )
