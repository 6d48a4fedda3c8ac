"""From an index, a split and a configuration to a finished run; stopped, it goes on where it was.

What `osteo-train fit` and `osteo-train release` share. A run that is finished is not fitted again,
where everything that decides it is the same (`training.runs.identity`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from app.core.reference_tiles import N_NEIGHBOURS
from training.config import TrainingConfig
from training.console.progress import ERRORS, tracked
from training.data.index import Index
from training.data.splits import Fold, Split, fold_positions
from training.data.synthetic import SyntheticTiles
from training.data.tiles import TileStream
from training.distributed import agreed, is_chief
from training.features.cache import FeatureCache
from training.features.extract import open_sources
from training.features.reference_tiles import choose_reference
from training.fit.sampling import Groups
from training.fit.trainer import Trainer
from training.runs.identity import RunIdentity, identify
from training.runs.records import (
    Answer,
    CrossValidation,
    FinalFit,
    FoldResult,
    class_indices_of,
    find_cross_validation,
    find_final_fit,
    write_final_fit,
    write_run,
)
from training.runs.resume import Work, kept_work

_FOLD_NAME: Final = "fold.json"


@dataclass(frozen=True, slots=True)
class Task:
    """What is fitted on: the same for every run of a command.

    Attributes:
        index, index_sha256: the tiles, and of the file that lists them.
        data_dir: the collection.
        config: resolved.
        synthetic: what `gan.proportion` asks for.
    """

    index: Index
    index_sha256: str
    data_dir: Path
    config: TrainingConfig
    synthetic: SyntheticTiles | None = None

    def identity(self, split_sha256: str | None) -> RunIdentity:
        """Of the run over a split, or, for None, of the fit on all tiles."""
        return identify(self.config, self.index_sha256, split_sha256, self.synthetic)


class Fitting:
    """Does the runs of a task, each unless it is finished; leaves them in their folders."""

    def __init__(self, task: Task, cache_dir: Path) -> None:
        """Nothing is computed before a run needs it.

        Args:
            task: what is fitted on.
            cache_dir: keeps the features.
        """
        self._task, self._cache_dir = task, cache_dir

    @cached_property
    def _trainer(self) -> Trainer:
        task = self._task
        return Trainer(
            TileStream(task.index, task.data_dir, task.config.network.input_side_px),
            class_indices_of(task.index),
            task.config,
            Groups.of(task.index),
            open_sources(task.index, task.data_dir, task.config.augment),
            task.synthetic,
            FeatureCache.of(self._cache_dir, task.index),
        )

    def cross_validate(self, split: Split, split_sha256: str, out: Path) -> None:
        """Fit one model a fold on the fold's training tiles and ask it for the test tiles.

        Raises:
            TrainingError: tiles or weights cannot be read, the disk is full, or another process
                works in `out`.
        """
        identity = self._task.identity(split_sha256)
        if agreed(find_cross_validation(out, identity) is not None):
            _say(f"Kept by {split.kind}: {out} is finished.")
            return
        with kept_work(out, identity) as work:
            trainer = self._trainer
            parts = [work.within(f"fold-{i:03}") for i in range(len(split.folds))]
            kept = [_read_fold(part) for part in parts]
            n_kept = len(kept) - kept.count(None)
            if n_kept:
                _say(f"Kept by {split.kind}: {n_kept} of {len(kept)} folds.")
            results: dict[str, FoldResult] = {}
            todo = list(zip(split.folds, parts, kept, strict=True))
            for fold, part, result in tracked(f"Cross-validating by {split.kind}")(todo):
                results[fold.name] = result or _fit_fold(trainer, self._task, fold, part)
            run = CrossValidation(
                kind=split.kind,
                split_sha256=split_sha256,
                index_sha256=split.index_sha256,
                config=self._task.config,
                answers=tuple(answer for result in results.values() for answer in result.answers),
                history={name: result.history for name, result in results.items()},
                identity=identity,
            )
            if is_chief():
                write_run(out, run)
        _say(f"Cross-validated by {split.kind}: {len(split.folds)} fold(s).")

    def fit_all(self, out: Path) -> None:
        """Fit on every tile, where nothing is left to test on.

        Raises:
            TrainingError: as for `cross_validate`.
        """
        task, identity = self._task, self._task.identity(None)
        if agreed(find_final_fit(out, identity) is not None):
            _say(f"Kept: the fit on all tiles in {out} is finished.")
            return
        with kept_work(out, identity) as work:
            everything = np.arange(len(task.index.tiles))
            nothing = np.array([], dtype=np.int64)
            fitted = self._trainer.fit(everything, nothing, task.config.seed, work)
            run = FinalFit(
                index_sha256=task.index_sha256,
                config=task.config,
                history=tuple(record.as_dict() for record in fitted.history),
                identity=identity,
            )
            if is_chief():
                write_final_fit(out, run, fitted.base_weights, fitted.head_weights)


def _say(line: str) -> None:
    if is_chief():
        ERRORS.print(line, soft_wrap=True, highlight=False)


def _read_fold(work: Work) -> FoldResult | None:
    content = work.read(_FOLD_NAME)
    try:
        return None if content is None else FoldResult.model_validate_json(content)
    except ValidationError:
        return None  # of a bad disk: that fold is fitted again


def _fit_fold(trainer: Trainer, task: Task, fold: Fold, work: Work) -> FoldResult:
    index = task.index
    train, test = fold_positions(index, fold)
    fitted = trainer.fit(train, test, task.config.seed, work)
    distances = _distances(trainer, train, test)
    answers = (
        Answer(
            tile=index.tiles[position].name,
            slide=index.tiles[position].slide,
            fold=fold.name,
            label=index.tiles[position].label,
            logits=tuple(float(value) for value in logits),
            distance=distance,
        )
        for position, logits, distance in zip(test, fitted.test_logits, distances, strict=True)
    )
    history = tuple(record.as_dict() for record in fitted.history)
    result = FoldResult(answers=tuple(answers), history=history)
    content = result.model_dump_json().encode()
    work.write(_FOLD_NAME, lambda out: out.write(content))
    work.drop_checkpoints()
    return result


def _distances(
    trainer: Trainer, train: NDArray[np.int64], test: NDArray[np.int64]
) -> list[float] | list[None]:
    """Of each test tile from the training tiles, where the latest fit has embeddings."""
    embeddings = trainer.embeddings()
    if embeddings is None or len(train) < N_NEIGHBOURS:
        return [None] * len(test)
    return [float(d) for d in choose_reference(embeddings[train]).distances(embeddings[test])]
