"""Metrics of out-of-fold answers. What cannot be measured is None, never 0 or 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.core.calibration import probabilities_from_logits
from app.core.manifest import ClassMetrics, FoldMetrics, SplitMetrics
from training.data.labels import LABEL_IDS, LABELS, TUMOR_CLASSES
from training.runs.records import CrossValidation

N_ECE_BINS: Final = 10
N_RESAMPLES: Final = 2000
_INTERVAL_PERCENT: Final = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Answers as arrays.

    Attributes:
        truth: int64 `[n]`, positions in `LABELS`.
        logits: float64 `[n, C]`, before temperature.
        slides, folds: names, `[n]`.
    """

    truth: NDArray[np.int64]
    logits: NDArray[np.float64]
    slides: NDArray[Any]
    folds: NDArray[Any]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """int64 `[n]`, positions in `LABELS`."""
        positions: NDArray[np.int64] = self.logits.argmax(axis=1)
        return positions


def outcome_of(run: CrossValidation) -> Outcome:
    """Bring a run's answers into arrays."""
    return Outcome(
        truth=np.array([LABEL_IDS.index(answer.label) for answer in run.answers]),
        logits=np.array([answer.logits for answer in run.answers], dtype=np.float64),
        slides=np.array([answer.slide for answer in run.answers]),
        folds=np.array([answer.fold for answer in run.answers]),
    )


def evaluate(run: CrossValidation, temperature: float = 1.0, seed: int = 0) -> SplitMetrics:
    """Measure a cross-validation, all folds pooled.

    Args:
        run: the answers.
        temperature: applied before probabilities are measured (ECE, log loss).
        seed: of the bootstrap.
    """
    outcome = outcome_of(run)
    confusion = confusion_matrix(outcome.truth, outcome.predicted)
    classes = tuple(_class_metrics(confusion, i) for i in range(len(LABELS)))
    f1_low, f1_high = macro_f1_interval(outcome, seed)
    tumor_precision, tumor_recall = tumor_metrics(confusion)
    low, high = accuracy_interval(outcome, seed)
    probabilities = probabilities_from_logits(outcome.logits, temperature)
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
        ece=expected_calibration_error(probabilities, outcome.truth),
        log_loss=log_loss(probabilities, outcome.truth),
        classes=classes,
        folds=tuple(_fold_metrics(outcome, name, seed) for name in run.folds),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def confusion_matrix(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts, int64 `[C, C]`: row i, column j holds tiles of label i that were answered as j."""
    counts = np.zeros((len(LABELS), len(LABELS)), dtype=np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def expected_calibration_error(
    probabilities: NDArray[np.float32], truth: NDArray[np.int64], n_bins: int = N_ECE_BINS
) -> float:
    """Mean gap of confidence and accuracy over equal-width bins (Naeini et al. 2015, AAAI).

    Args:
        probabilities: float `[n, C]`.
        truth: int64 `[n]`.
        n_bins: bins of the largest probability over [0, 1].
    """
    return sum(
        abs(confidence - accuracy) * share
        for confidence, accuracy, share in reliability_bins(probabilities, truth, n_bins)
    )


def reliability_bins(
    probabilities: NDArray[np.float32], truth: NDArray[np.int64], n_bins: int = N_ECE_BINS
) -> list[tuple[float, float, float]]:
    """(mean confidence, accuracy, share of tiles) of every bin that holds a tile, ascending."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    hits = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * n_bins).astype(np.int64), n_bins - 1)
    return [
        (
            float(confidence[bins == number].mean()),
            float(hits[bins == number].mean()),
            float((bins == number).mean()),
        )
        for number in sorted(set(bins.tolist()))
    ]


def log_loss(probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Mean negative log of the true label's probability, in nats."""
    chosen = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.clip(chosen, np.finfo(np.float32).tiny, 1.0)).mean())


def accuracy_interval(outcome: Outcome, seed: int) -> tuple[float, float]:
    """95 % bootstrap interval of the accuracy, resampling slides: tiles of one are not independent.

    Args:
        outcome: the answers.
        seed: of the resampling.
    """
    counts = _resampled_confusions(outcome, seed)
    right = np.trace(counts, axis1=1, axis2=2)
    return _percentiles(right / counts.sum(axis=(1, 2)))


def macro_f1_interval(outcome: Outcome, seed: int) -> tuple[float, float]:
    """As `accuracy_interval`, of the mean F1 of the labels that a resample holds.

    Args:
        outcome: the answers.
        seed: of the resampling.
    """
    counts = _resampled_confusions(outcome, seed)
    support, answered = counts.sum(axis=2), counts.sum(axis=1)
    held = support > 0
    # A label that is answered or held has a denominator; others are left out of the mean.
    f1 = 2 * np.diagonal(counts, axis1=1, axis2=2) / np.maximum(support + answered, 1)
    return _percentiles((f1 * held).sum(axis=1) / held.sum(axis=1))


def _resampled_confusions(outcome: Outcome, seed: int) -> NDArray[np.int64]:
    """Confusion matrices of slides drawn with replacement, int64 `[N_RESAMPLES, C, C]`."""
    _, slide_of = np.unique(outcome.slides, return_inverse=True)
    n_slides = int(slide_of.max()) + 1
    by_slide = np.zeros((n_slides, len(LABELS), len(LABELS)), dtype=np.int64)
    np.add.at(by_slide, (slide_of, outcome.truth, outcome.predicted), 1)
    drawn = np.random.default_rng(seed).integers(n_slides, size=(N_RESAMPLES, n_slides))
    times = np.zeros((N_RESAMPLES, n_slides), dtype=np.int64)
    np.add.at(times, (np.arange(N_RESAMPLES)[:, None], drawn), 1)
    counts: NDArray[np.int64] = np.einsum("rs,sij->rij", times, by_slide)
    return counts


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, _INTERVAL_PERCENT)
    return float(low), float(high)


def _mean_of(values: Sequence[float | None]) -> float:
    """Mean of what was measured; every split holds at least one label."""
    return float(np.mean([value for value in values if value is not None]))


def _class_metrics(confusion: NDArray[np.int64], i: int) -> ClassMetrics:
    """Precision without an answer of the label is None too: nothing was claimed."""
    right, support, answered = confusion[i, i], confusion[i].sum(), confusion[:, i].sum()
    if support == 0:
        return ClassMetrics(label=LABELS[i].id, support=0, precision=None, recall=None, f1=None)
    return ClassMetrics(
        label=LABELS[i].id,
        support=int(support),
        precision=float(right / answered) if answered else None,
        recall=float(right / support),
        f1=float(2 * right / (support + answered)),
    )


def tumor_metrics(confusion: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """Precision and recall of tumour against not, the two tumour labels merged as in the paper."""
    tumor = list(TUMOR_CLASSES)
    right = confusion[np.ix_(tumor, tumor)].sum()
    support, answered = confusion[tumor].sum(), confusion[:, tumor].sum()
    precision = float(right / answered) if answered and support else None
    return precision, float(right / support) if support else None


def _fold_metrics(outcome: Outcome, name: str, seed: int) -> FoldMetrics:
    chosen = outcome.folds == name
    part = Outcome(
        outcome.truth[chosen], outcome.logits[chosen], outcome.slides[chosen], outcome.folds[chosen]
    )
    counts = Counter(LABEL_IDS[i] for i in part.truth)
    confusion = confusion_matrix(part.truth, part.predicted)
    classes = tuple(_class_metrics(confusion, i) for i in range(len(LABELS)))
    several = len(set(part.slides)) > 1  # of one slide nothing can be resampled
    low, high = accuracy_interval(part, seed) if several else (None, None)
    return FoldMetrics(
        name=name,
        n_tiles=len(part.truth),
        accuracy=float((part.predicted == part.truth).mean()),
        support={label: counts[label] for label in LABEL_IDS},
        accuracy_low=low,
        accuracy_high=high,
        macro_f1=_mean_of([entry.f1 for entry in classes]),
        classes=classes,
    )
