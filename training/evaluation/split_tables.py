"""The three kinds of split side by side, and case by case: the rows of every report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from app.core.manifest import ClassMetrics, FoldMetrics, Label, SplitKind, SplitMetrics
from app.core.provenance import DataSource
from training.console.plural import plural
from training.data.labels import MixedTiles

SPLIT_TITLES: Final[Mapping[SplitKind, str]] = {
    "random": "random: tiles of one slide on both sides",
    "slide": "slide: no slide on both sides",
    "patient": "patient: each case left out in turn",
}
SPLIT_HEADER: Final = (
    "split",
    "correct / tiles",
    "accuracy",
    "95 % interval",
    "macro F1",
    "95 % interval",
    "balanced accuracy",
    "tumour precision",
    "tumour recall",
)
MIXED_POLICY: Final[Mapping[MixedTiles, str]] = {
    "viable": "counted as Viable Tumor, as the published counts do",
    "exclude": "left out",
    "non_viable": "counted as Non-Viable Tumor",
}
UNAVAILABLE: Final = "unavailable"
SLIDES_UNKNOWN: Final = (
    "Slides unknown: tiles of one slide may be on both sides of a split, so the accuracy of the "
    "random split is too high and its interval too narrow."
)
CASES_UNKNOWN: Final = "Cases unknown: the accuracy on new patients was not measured."


def split_rows(metrics: Sequence[SplitMetrics]) -> list[list[str]]:
    """One row per kind of split, under `SPLIT_HEADER`, also for kinds that were not measured."""
    by_kind = {entry.split: entry for entry in metrics}
    not_measured = ["not measured"] * (len(SPLIT_HEADER) - 1)
    return [
        [title, *(_split_row(by_kind[kind]) if kind in by_kind else not_measured)]
        for kind, title in SPLIT_TITLES.items()
    ]


def case_header(labels: Sequence[Label]) -> list[str]:
    """The header of `case_rows`."""
    recalls = [f"{label.name}: recall" for label in labels]
    return ["case left out", "correct / tiles", "accuracy", "95 % interval", *recalls]


def case_rows(metrics: Sequence[SplitMetrics], labels: Sequence[Label]) -> list[list[str]]:
    """One row for each left-out case; no rows if there was no patient split."""
    return [
        [
            fold.name,
            f"{round(fold.accuracy * fold.n_tiles)} / {fold.n_tiles}",
            percent(fold.accuracy),
            interval(fold.accuracy_low, fold.accuracy_high),
            *_recalls(fold, labels),
        ]
        for entry in metrics
        if entry.split == "patient"
        for fold in entry.folds
    ]


def unknown_places(data: DataSource) -> list[str]:
    """Sentences on the kinds of split that unknown slides and cases rule out."""
    notes = []
    if data.n_slides is None:
        notes.append(SLIDES_UNKNOWN)
    if data.n_cases is None:
        notes.append(CASES_UNKNOWN)
    return notes


def n_correct(entry: SplitMetrics) -> int:
    """Correct predictions: the diagonal of the confusion matrix."""
    return sum(row[i] for i, row in enumerate(entry.confusion))


def percent(value: float | None) -> str:
    """`87.5 %`, or `unavailable`."""
    return UNAVAILABLE if value is None else f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    """`0.875`, or `unavailable`."""
    return UNAVAILABLE if value is None else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """`72.1 to 92.6 %` for shares in [0, 1], or `unavailable`."""
    return UNAVAILABLE if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f} %"


def _split_row(entry: SplitMetrics) -> list[str]:
    low, high = entry.macro_f1_low, entry.macro_f1_high
    return [
        f"{n_correct(entry)} / {entry.n_tiles} ({plural(entry.n_folds, 'fold')})",
        percent(entry.accuracy),
        interval(entry.accuracy_low, entry.accuracy_high),
        number(entry.macro_f1),
        UNAVAILABLE if low is None or high is None else f"{low:.3f} to {high:.3f}",
        percent(entry.balanced_accuracy),
        percent(entry.tumor_precision),
        percent(entry.tumor_recall),
    ]


def _recalls(fold: FoldMetrics, labels: Sequence[Label]) -> list[str]:
    by_label = {entry.label: entry for entry in fold.classes}
    return [_recall(by_label.get(label.id), fold.support.get(label.id, 0)) for label in labels]


def _recall(entry: ClassMetrics | None, support: int) -> str:
    if entry is None or entry.recall is None:
        return f"{UNAVAILABLE} (no tile)" if support == 0 else f"{UNAVAILABLE} ({support} tiles)"
    return f"{percent(entry.recall)} ({round(entry.recall * support)} / {support})"
