"""Run a study from its plan to its last record; finished runs are not repeated."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import fmean

import numpy as np

from app.core.manifest import SplitKind
from training.data.index import Index
from training.data.splits import Split, fold_positions, make_split
from training.errors import RunError, SplitError, WeightsError
from training.evaluation.metrics import confusion_matrix
from training.experiments.study.config import StudyConfig
from training.experiments.study.design import Design, PlannedRun, RunSpec, SplitSpec, jobs_of
from training.experiments.study.engines import Engine, HeadTask
from training.experiments.study.features import FeatureSource
from training.experiments.study.head import HeadFit, Positions
from training.experiments.study.journal import Counts, FinishedRun
from training.networks.graphs import require_weights, weights_sha256
from training.networks.registry import SYSTEMS
from training.runs.records import class_indices_of, require_same_labels
from training.storage.journal import Journal

DoneRuns = list[tuple[PlannedRun, FinishedRun]]


@dataclass(frozen=True, slots=True)
class StudyFolders:
    """Where a study reads and writes.

    Attributes:
        data_dir: the collection.
        cache_dir: features of frozen backbones.
        out: journal, results, figures and report.
    """

    data_dir: Path
    cache_dir: Path
    out: Path


class Study:
    """The runs of a study on one index."""

    def __init__(
        self, config: StudyConfig, index: Index, index_sha256: str, folders: StudyFolders
    ) -> None:
        """Plan Figure 3 and Table 1; nothing is computed.

        Raises:
            RunError: index and study have other labels or count mixed tiles differently.
            WeightsError: a weights file of a system that is run is missing.
        """
        require_same_labels(index, config.labels)
        if index.layout == "collection" and index.mixed_tiles != config.mixed_tiles:
            raise RunError(
                f"The index has mixed_tiles = {index.mixed_tiles!r}, but the study has "
                f"mixed_tiles = {config.mixed_tiles!r}. Change one of them."
            )
        _require_weights(config)
        self.config, self.index, self.index_sha256 = config, index, index_sha256
        self.folders = folders
        self.weights = {
            name: weights_sha256(system.weights) or system.weights
            for name, system in config.running.items()
        }
        self.design = Design(config, index_sha256, self.weights)
        self.figure_3 = self.design.figure_3()
        self.table_1 = self.design.table_1()
        paths = {name: system.weights for name, system in config.running.items()}
        self.source = FeatureSource(index, folders.data_dir, folders.cache_dir, paths)
        self._class_indices = class_indices_of(index)
        self.split = lru_cache(maxsize=None)(self._split)

    @property
    def n_cases(self) -> int:
        """Number of cases in the index, and so of folds in the split by patient."""
        return len({tile.case for tile in self.index.tiles})

    @property
    def known_runs(self) -> list[PlannedRun]:
        """The runs that depend on no result: Figure 3, Table 1 and the comparison.

        Raises:
            SplitError: a split of the comparison cannot be made.
        """
        return [*self.figure_3, *self.table_1, *self.comparison]

    @cached_property
    def comparison(self) -> list[PlannedRun]:
        """The systems without augmentation on every kind of split.

        Raises:
            SplitError: there are too few tiles, slides or cases.
        """
        return self.with_several_labels(self.design.comparison(self.n_cases))

    def by_split_kind(self, find: Callable[[str], FinishedRun | None]) -> list[PlannedRun]:
        """The best rows of Table 1 on every kind of split; empty until it is finished."""
        rows = {}
        for name in dict.fromkeys(run.system for run in self.table_1):
            best = best_row(found(self.table_1, find), name)
            if best is None:
                return []
            rows[name] = best
        return self.with_several_labels(self.design.by_split_kind(rows, self.n_cases))

    def lone_label(self, spec: SplitSpec) -> str | None:
        """The only label among the training tiles of a fold; None if they have several.

        Raises:
            SplitError: there are too few tiles, slides or cases.
        """
        train, _ = self.positions(spec)
        labels = {self.index.labels[i] for i in train}
        return labels.pop() if len(labels) == 1 else None

    def with_several_labels(self, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
        """The runs whose training tiles have more than one label to tell apart.

        Raises:
            SplitError: there are too few tiles, slides or cases.
        """
        try:
            return [run for run in runs if self.lone_label(run.spec.split) is None]
        except SplitError as error:
            raise SplitError(f"{error} See [levels].") from error

    def require_splits(self) -> None:
        """Make every split once, so that an impossible one fails before any work.

        Raises:
            SplitError: there are too few tiles, slides or cases.
        """
        splits = {run.spec.split for run in self.figure_3 + self.table_1}
        if self.table_1 or self.config.levels.systems:
            kinds = self.config.levels.n_folds(2).items()  # a patient split needs two cases
            seed = self.config.seed
            splits |= {SplitSpec(kind=kind, n_folds=n, seed=seed) for kind, n in kinds}
        for split in sorted(splits, key=lambda spec: (spec.kind, spec.seed)):
            try:
                self.split(split.kind, split.n_folds, split.seed)
            except SplitError as error:
                where = "" if split in {r.spec.split for r in self.figure_3} else " See [levels]."
                raise SplitError(f"{error}{where}") from error

    def run(
        self, planned: Sequence[PlannedRun], journal: Journal[FinishedRun], engine: Engine
    ) -> Iterator[tuple[RunSpec, ...]]:
        """Do the unfinished runs; after each fit, yield the runs that it finished."""
        todo = [run.spec for run in planned if journal.get(run.spec.key) is None]
        for task, fitted in engine.run(self._tasks(todo)):
            journal.append([self._record(spec, task, fitted) for spec in task.specs])
            yield task.specs

    def _tasks(self, specs: Sequence[RunSpec]) -> Iterator[HeadTask]:
        """The fits to do; those on the same features come one after the other."""

        def place(job: tuple[RunSpec, ...]) -> str:
            views = job[0].views
            return f"{job[0].network.system} {views.model_dump_json() if views else ''}"

        for _, group in itertools.groupby(sorted(jobs_of(specs), key=place), key=place):
            jobs = list(group)
            features = self.source.read(jobs[0][0].network, jobs[0][0].views)
            for job in jobs:
                train, test = self.positions(job[0].split)
                fresh = self.source.fresh(job[0], train)
                n_classes = len(self.config.labels)
                yield HeadTask(job, features, self._class_indices, train, test, n_classes, fresh)

    def positions(self, spec: SplitSpec) -> tuple[Positions, Positions]:
        """Training and test tiles of a fold."""
        split = self.split(spec.kind, spec.n_folds, spec.seed)
        return fold_positions(self.index, split.folds[spec.fold])

    def split_sha256(self, spec: SplitSpec) -> str:
        """SHA-256 of the file that `osteo-train split` would write."""
        split = self.split(spec.kind, spec.n_folds, spec.seed)
        return hashlib.sha256(split.model_dump_json(indent=1).encode() + b"\n").hexdigest()

    def _split(self, kind: SplitKind, n_folds: int, seed: int) -> Split:
        return make_split(self.index, self.index_sha256, kind, n_folds, seed)

    def _record(self, spec: RunSpec, task: HeadTask, fitted: HeadFit) -> FinishedRun:
        truth = self._class_indices[task.test]
        hits = (fitted.answers[: spec.epochs] == truth).mean(axis=1)
        best = int(hits.argmax())  # the first, if several are equal

        def confusion(epoch: int) -> Counts:
            counts = confusion_matrix(truth, fitted.answers[epoch], len(self.config.labels))
            return tuple(tuple(int(count) for count in row) for row in counts)

        return FinishedRun(
            key=spec.key,
            spec=spec,
            n_train=len(task.train),
            n_test=len(task.test),
            loss=_shown(fitted.loss[: spec.epochs]),
            accuracy=_shown(fitted.accuracy[: spec.epochs]),
            test_loss=_shown(fitted.test_loss[: spec.epochs]),
            test_accuracy=tuple(float(hit) for hit in hits),
            confusion=confusion(spec.epochs - 1),
            best_epoch=best + 1,
            best_confusion=confusion(best),
            test=tuple(self.index.tiles[i].name for i in task.test),
            logits=tuple(_shown(row) for row in fitted.logits[spec.epochs]),
            seconds=round(fitted.seconds, 3),
        )


def missing_weights_advice(system: str) -> str:
    """Advice for a user who lacks the weights of a system."""
    return (
        f"Or give --weights {system}=FILE, or leave this system out with --not-run "
        f"{system}=REASON; its rows then stay in the report, with the reason."
    )


def found(planned: Sequence[PlannedRun], find: Callable[[str], FinishedRun | None]) -> DoneRuns:
    """The planned runs that are finished, with their records."""
    pairs = ((run, find(run.spec.key)) for run in planned)
    return [(run, record) for run, record in pairs if record is not None]


def best_row(table_1: DoneRuns, system: str) -> str | None:
    """The first row of Table 1 with the highest mean accuracy after the last epoch."""
    by_row: dict[str, list[float]] = {}
    for run, record in table_1:
        if run.system == system:
            by_row.setdefault(run.row, []).append(record.last_accuracy)
    return max(by_row, key=lambda row: fmean(by_row[row])) if by_row else None


def _require_weights(config: StudyConfig) -> None:
    """Check all systems, so that one error names every missing file."""
    problems = []
    for name, system in config.running.items():
        try:
            require_weights(system.weights, SYSTEMS[name])
        except WeightsError as error:
            problems.append(f"{error} {missing_weights_advice(name)}")
    if problems:
        raise WeightsError("\n".join(problems))


def _shown(values: np.ndarray) -> tuple[float, ...]:
    """Round values to six digits, the precision of a float32."""
    return tuple(float(f"{value:.6g}") for value in values)
