"""The numbers of a study: one table of its runs, and the cells of the paper's tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import numpy as np

from app.core.manifest import SplitMetrics
from training.config import PhaseConfig, TrainingConfig
from training.data.label_set import LabelSet
from training.evaluation.leakage import find_leaks
from training.evaluation.metrics import evaluate, tumor_metrics
from training.experiments.study.design import PlannedRun, SplitSpec
from training.experiments.study.journal import Counts, FinishedRun
from training.experiments.study.study import DoneRuns, Study
from training.networks.backbone import BackboneConfig
from training.networks.config import NetworkConfig
from training.runs.records import Answer, CrossValidation
from training.storage.atomic import write_bytes_whole

RESULTS_NAME: Final = "results.csv"


@dataclass(frozen=True, slots=True)
class Spread:
    """Accuracies of the runs of one setting.

    Attributes:
        mean, low, high: after the last epoch.
        deviation: sample standard deviation; None for one run.
        best: mean after each run's best epoch, which is chosen on the test tiles.
        n_runs: number of runs.
    """

    mean: float
    low: float
    high: float
    deviation: float | None
    best: float
    n_runs: int

    @classmethod
    def of(cls, records: Sequence[FinishedRun]) -> Spread:
        """The spread of one or more records."""
        last = [record.last_accuracy for record in records]
        return cls(
            mean=fmean(last),
            low=min(last),
            high=max(last),
            deviation=stdev(last) if len(last) > 1 else None,
            best=fmean(record.best_accuracy for record in records),
            n_runs=len(last),
        )


@dataclass(frozen=True, slots=True)
class TumorCounts:
    """Tumour against non-tumour, with the tumour labels merged as in the paper."""

    precision: float | None
    recall: float | None
    false_negatives: int
    n_tumor: int


def tumor_counts(confusion: Counts, labels: LabelSet) -> TumorCounts:
    """Counts from a confusion matrix whose rows are true and columns predicted classes."""
    counts, tumor = np.array(confusion, dtype=np.int64), list(labels.tumor_classes)
    precision, recall = tumor_metrics(counts, tumor)
    support = int(counts[tumor].sum())
    right = int(counts[np.ix_(tumor, tumor)].sum())
    return TumorCounts(precision, recall, support - right, support)


def figure_3_cells(done: DoneRuns) -> dict[tuple[str, int, float], Spread]:
    """Spread by system, epochs and learning rate."""
    return _spreads(done, lambda run: (run.system, run.spec.epochs, run.spec.learning_rate))


def table_1_cells(done: DoneRuns) -> dict[tuple[str, str], Spread]:
    """Spread by system and row."""
    return _spreads(done, lambda run: (run.system, run.row))


def best_run(done: DoneRuns) -> tuple[PlannedRun, FinishedRun] | None:
    """The run with the highest accuracy at its best epoch, as the paper chooses.

    If several are equal, the one with the lowest loss at that epoch.
    """

    def rank(pair: tuple[PlannedRun, FinishedRun]) -> tuple[float, float]:
        record = pair[1]
        return record.best_accuracy, -record.test_loss[record.best_epoch - 1]

    return max(done, key=rank, default=None)


def split_kind_metrics(study: Study, done: DoneRuns) -> dict[tuple[str, str, str], SplitMetrics]:
    """Metrics of complete cross-validations by system, row and kind of split, all folds pooled.

    Complete means that every fold is finished whose training tiles have several labels.
    The bootstrap interval resamples slides; an absent label has no number.
    """
    folds: dict[tuple[str, str, str], list[tuple[PlannedRun, FinishedRun]]] = {}
    for run, record in done:
        folds.setdefault((run.system, run.row, run.spec.split.kind), []).append((run, record))
    return {
        key: evaluate(_cross_validation(study, parts))
        for key, parts in folds.items()
        if len(parts) == _n_possible(study, parts[0][0].spec.split)
    }


def _n_possible(study: Study, split: SplitSpec) -> int:
    """Folds whose training tiles have several labels."""
    folds = [split.model_copy(update={"fold": fold}) for fold in range(split.n_folds)]
    return sum(study.lone_label(fold) is None for fold in folds)


def count_leaks(study: Study) -> dict[int, list[int]]:
    """Overlapping pairs across the two sides of each of the paper's splits, by footprint."""
    seeds = sorted({run.spec.split.seed for run in study.figure_3 + study.table_1})
    splits = [study.split("random", 1, seed) for seed in seeds]
    return {
        footprint: [find_leaks(study.index, split, footprint).n_pairs for split in splits]
        for footprint in study.config.levels.footprints
    }


def write_results(path: Path, done: DoneRuns, labels: LabelSet) -> None:
    """Write one row for each run, whole or not at all.

    Raises:
        OSError: the disk is full.
    """
    text = io.StringIO()
    rows = [_tidy(run, record, labels) for run, record in done]
    if rows:
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_bytes_whole(path, text.getvalue().encode())


def _tidy(run: PlannedRun, record: FinishedRun, labels: LabelSet) -> dict[str, Any]:
    spec, views = run.spec, run.spec.views
    tumor = tumor_counts(record.confusion, labels)
    return {
        "part": run.part,
        "row": run.row,
        "system": run.system,
        "side_px": spec.network.side_px,
        "weights": spec.network.weights,
        "learning_rate": spec.learning_rate,
        "epochs": spec.epochs,
        "run": run.number,
        "split": spec.split.kind,
        "split_seed": spec.split.seed,
        "views": views.mode if views else "original",
        "n_views": views.n_views if views else 0,
        "views_per_epoch": views.per_epoch if views else 0,
        "n_train": record.n_train,
        "n_test": record.n_test,
        "train_accuracy": round(record.accuracy[-1], 6),
        "accuracy": round(record.last_accuracy, 6),
        "loss": record.test_loss[-1],
        "best_epoch": record.best_epoch,
        "best_epoch_accuracy": round(record.best_accuracy, 6),
        "tumor_precision": _optional(tumor.precision),
        "tumor_recall": _optional(tumor.recall),
        "tumor_false_negatives": tumor.false_negatives,
        "n_tumor": tumor.n_tumor,
        "seconds": record.seconds,
        "key": record.key,
    }


def _optional(value: float | None) -> float | str:
    return "" if value is None else round(value, 6)


def _spreads(done: DoneRuns, key: Any) -> dict[Any, Spread]:
    groups: dict[Any, list[FinishedRun]] = {}
    for run, record in done:
        groups.setdefault(key(run), []).append(record)
    return {name: Spread.of(records) for name, records in groups.items()}


def _cross_validation(
    study: Study, parts: Sequence[tuple[PlannedRun, FinishedRun]]
) -> CrossValidation:
    """The folds of one split as `osteo-train fit --split` writes them."""
    spec = parts[0][0].spec
    split = study.split(spec.split.kind, spec.split.n_folds, spec.split.seed)
    tiles = {tile.name: tile for tile in study.index.tiles}
    names = {run.number: split.folds[run.number - 1].name for run, _ in parts}
    answers = tuple(
        Answer(
            tile=name,
            slide=tiles[name].slide,
            fold=names[run.number],
            label=tiles[name].label,
            logits=logits,
        )
        for run, record in parts
        for name, logits in zip(record.test, record.logits, strict=True)
    )
    return CrossValidation(
        kind=spec.split.kind,
        split_sha256=study.split_sha256(spec.split),
        index_sha256=study.index_sha256,
        config=TrainingConfig(
            model_name=study.config.name,
            labels=study.config.labels,
            seed=study.config.seed,
            network=NetworkConfig(
                system=spec.network.system,
                backbone=BackboneConfig(side_px=spec.network.side_px),
                hidden_units=spec.hidden_units,
            ),
            head=PhaseConfig(epochs=spec.epochs, learning_rate=spec.learning_rate),
        ),
        answers=answers,
        history=dict.fromkeys(names.values(), ()),
    )
