"""Cross-validate over a split or fit on all tiles; a run can be stopped and resumed.

A finished run is not fitted again while everything that decides its result is the same
(`training.runs.identity`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from app.core.reference_tiles import N_NEIGHBOURS
from training.config import TrainingConfig
from training.console.plural import plural
from training.console.progress import ERRORS, Advance, counted
from training.data.groups import Groups
from training.data.index import Index
from training.data.splits import Fold, Split, fold_positions
from training.data.synthetic import SyntheticTiles
from training.data.tiles import TileStream
from training.distributed import agreed, is_chief
from training.errors import RunError
from training.features.cache import FeatureCache
from training.features.measures import Measures, read_measures
from training.features.prepare import PreparedFeatures, prepare_features
from training.features.reference_tiles import choose_reference
from training.features.supplements import NO_SUPPLEMENTS, Supplements
from training.fit.checkpoint_dir import CheckpointDir
from training.fit.classifier import count_epochs, fit_classifier
from training.fit.history import EpochRecord, OnEpoch
from training.fit.table_strategy import fit_table
from training.networks.table_systems import find_table_system
from training.runs.identity import RunIdentity, identify
from training.runs.records import (
    ALL_TILES,
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
from training.runs.resume import live_curves_dir, resumable
from training.storage.event_files import open_curve

_FOLD_NAME: Final = "fold.json"


@dataclass(frozen=True, slots=True)
class FitTask:
    """Tiles and settings, the same for every run of a command.

    Attributes:
        index, index_sha256: the tiles, and the SHA-256 of the file that lists them.
        data_dir: the collection.
        config: the resolved configuration.
        synthetic: the tiles for `gan.proportion`.
        supplements: the thumbnails and table rows that also teach.
    """

    index: Index
    index_sha256: str
    data_dir: Path
    config: TrainingConfig
    synthetic: SyntheticTiles | None = None
    supplements: Supplements = NO_SUPPLEMENTS

    def identity(self, split_sha256: str | None) -> RunIdentity:
        """Identity of the run over a split or, for None, of the fit on all tiles."""
        return identify(
            self.config, self.index_sha256, split_sha256, self.synthetic, self.supplements
        )


class Fitting:
    """Runs a task over splits and on all tiles, except runs that are finished."""

    def __init__(self, task: FitTask, cache_dir: Path) -> None:
        """The features are computed when the first run needs them, and stored in `cache_dir`."""
        self._task, self._cache_dir = task, cache_dir

    @cached_property
    def _features(self) -> PreparedFeatures:
        task = self._task
        return prepare_features(
            TileStream(task.index, task.data_dir, task.config.network.input_side_px),
            class_indices_of(task.index),
            task.config,
            Groups.of(task.index),
            task.synthetic,
            FeatureCache.of(self._cache_dir, task.index),
            task.supplements,
        )

    @cached_property
    def _inputs(self) -> PreparedFeatures | Measures:
        task, system = self._task, find_table_system(self._task.config.network.system)
        if system is None:
            return self._features
        return read_measures(task.index, task.data_dir, system, class_indices_of(task.index))

    def cross_validate(self, split: Split, split_sha256: str, out: Path) -> None:
        """Fit one model a fold on its training tiles, and record its logits of the test tiles.

        Raises:
            TrainingError: tiles or weights cannot be read, the disk is full, or another process
                is using `out`.
        """
        identity = self._task.identity(split_sha256)
        if agreed(find_cross_validation(out, identity) is not None):
            _say(f"Already finished by {split.kind}: {out}.")
            return
        with resumable(out, identity) as checkpoints:
            features = self._inputs
            parts = [checkpoints.subdirectory(f"fold-{i:03}") for i in range(len(split.folds))]
            saved = [_read_fold(part) for part in parts]
            n_saved = len(saved) - saved.count(None)
            if n_saved:
                _say(f"Already finished by {split.kind}: {n_saved} of {len(saved)} folds.")
            results: dict[str, FoldResult] = {}
            curves_dir = live_curves_dir(out, identity)
            total = count_epochs(self._task.config) * (len(saved) - n_saved)
            with counted(f"Cross-validating by {split.kind}", total) as advance:

                def fit_fold(fold: Fold, part: CheckpointDir) -> FoldResult:
                    with _followed(curves_dir, fold.name, advance) as on_epoch:
                        return _fit_fold(features, self._task, fold, part, on_epoch)

                for fold, part, result in zip(split.folds, parts, saved, strict=True):
                    results[fold.name] = result or fit_fold(fold, part)
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
        _say(f"Cross-validated by {split.kind}: {plural(len(split.folds), 'fold')}.")

    def fit_all(self, out: Path) -> None:
        """Fit on every tile; no tile is left for testing.

        Raises:
            TrainingError: as for `cross_validate`.
            RunError: the system reads a table, so there is nothing to export.
        """
        if (system := find_table_system(self._task.config.network.system)) is not None:
            raise RunError(f"--split is missing. {system.no_bundle}")
        task, identity = self._task, self._task.identity(None)
        if agreed(find_final_fit(out, identity) is not None):
            _say(f"Already finished: the fit on all tiles in {out}.")
            return
        with resumable(out, identity) as checkpoints:
            everything = np.arange(len(task.index.tiles))
            nothing = np.array([], dtype=np.int64)
            features, seed = self._features, task.config.seed
            with (
                counted("Fitting", count_epochs(task.config)) as advance,
                _followed(live_curves_dir(out, identity), ALL_TILES, advance) as on_epoch,
            ):
                fitted = fit_classifier(
                    features, task.config, everything, nothing, seed, checkpoints, on_epoch
                )
            run = FinalFit(
                index_sha256=task.index_sha256,
                config=task.config,
                history=tuple(asdict(record) for record in fitted.history),
                identity=identity,
            )
            if is_chief():
                write_final_fit(out, run, fitted.backbone_weights, fitted.head_weights)


@contextmanager
def _followed(curves_dir: Path, name: str, advance: Advance) -> Iterator[OnEpoch]:
    """Show each epoch of a fit in the progress bar and, for TensorBoard, in a curve."""
    if not is_chief():
        yield lambda _: advance(1, name)
        return
    with open_curve(curves_dir, name) as add:

        def on_epoch(record: EpochRecord) -> None:
            add(asdict(record))
            advance(1, name)

        yield on_epoch


def _say(line: str) -> None:
    if is_chief():
        ERRORS.print(line, soft_wrap=True, highlight=False)


def _read_fold(checkpoints: CheckpointDir) -> FoldResult | None:
    content = checkpoints.read(_FOLD_NAME)
    try:
        return None if content is None else FoldResult.model_validate_json(content)
    except ValidationError:
        return None  # a damaged file: fit that fold again


def _fit_fold(
    features: PreparedFeatures | Measures,
    task: FitTask,
    fold: Fold,
    checkpoints: CheckpointDir,
    on_epoch: OnEpoch,
) -> FoldResult:
    index, config = task.index, task.config
    train, test = fold_positions(index, fold)
    if isinstance(features, Measures):
        fitted = fit_table(features, config, train, test, on_epoch)
    else:
        fitted = fit_classifier(features, config, train, test, config.seed, checkpoints, on_epoch)
    distances = _distances(fitted.embeddings, train, test)
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
    history = tuple(asdict(record) for record in fitted.history)
    result = FoldResult(answers=tuple(answers), history=history)
    content = result.model_dump_json().encode()
    checkpoints.write(_FOLD_NAME, lambda out: out.write(content))
    checkpoints.remove_checkpoints()
    return result


def _distances(
    embeddings: NDArray[np.float32] | None, train: NDArray[np.int64], test: NDArray[np.int64]
) -> list[float] | list[None]:
    """Distance of each test tile from the training tiles, if the fit has embeddings."""
    if embeddings is None or len(train) < N_NEIGHBOURS:
        return [None] * len(test)
    return [float(d) for d in choose_reference(embeddings[train]).distances(embeddings[test])]
